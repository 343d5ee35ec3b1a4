"""One file or folder per neighbour: the only place its library is imported."""
