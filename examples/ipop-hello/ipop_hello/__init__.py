"""A module that greets: the example of docs/module-authors.md."""
