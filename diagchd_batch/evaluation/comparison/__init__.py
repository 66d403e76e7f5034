"""Two runs over the same studies: a new model version, another precision. Always the second run − the first."""
