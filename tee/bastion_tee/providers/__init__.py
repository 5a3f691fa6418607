"""Where a server gets evidence from: `base.Provider`, one module for each source, and `detect` for what a machine has."""
