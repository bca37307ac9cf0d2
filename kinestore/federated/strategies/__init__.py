"""How clients learn together: a strategy is a module with a function `build`."""
