"""Where objects go: a folder or a PACS."""
