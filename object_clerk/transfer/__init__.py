"""The movements of objects, one file each."""
