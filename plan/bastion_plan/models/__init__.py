"""Models as data: the operations a graph may use, the graph itself with its checks, and the layers of the cell language."""
