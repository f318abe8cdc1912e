"""The model hub: what it holds, its download, its verification."""
