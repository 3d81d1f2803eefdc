"""How much memory an upload and a download take, by us and by others, in the same run."""
