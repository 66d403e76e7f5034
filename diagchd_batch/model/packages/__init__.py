"""Model packages: a model card with the files of its weights, in the installation, a directory or an S3 prefix.

`registry` finds the package that `model.name` names. Another place for packages is one module that implements
`package.ModelPackage`.
"""
