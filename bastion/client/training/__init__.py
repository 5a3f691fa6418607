"""Models from here: torch modules to graphs, datasets, learners. The only place of the client that imports torch, and lazily."""
