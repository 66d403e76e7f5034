"""Who is examined, and what is known of them: subjects, studies, readers, special cases, and the tables of a cohort.

`studies` draws everything that makes an image, and `rendering` turns it into pixels.
"""
