"""The tables that users write: how their files and cells are read and checked."""
