def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
o='refvdm/optim.py'
sub(o,'''        flat, _ = ravel(theta)
        return {"step": np.array(0), "m"''','''        flat, _ = _flat("Adam: theta", theta)
        return {"step": np.array(0), "m"''')
sub(o,'''        """η_n, the learning rate of step n = 1, 2, ..."""
        if''','''        """η_n, the learning rate of step n = 1, 2, ..."""
        n = checks.integer("Adam: n", n)
        if''')
sub(o,'''        ValueError when trees or shapes differ or a gradient is nan or infinite, TypeError for one
        that is not float.
        """
        flat, unravel = ravel(theta)
        g = _flat_like(theta, grads)
        if not np.isfinite(g).all():
            raise _not_finite(theta, grads)
        if not isinstance(state, dict) or state.keys() != {"step", "m", "v"}:
            raise TypeError(f"Adam: state must be what init or update gave, a dict of step, m and "
                            f"v, got {list(state) if isinstance(state, dict) else state!r}")
        if state["m"].shape != flat.shape:
            raise ValueError(f"Adam: state is of {state['m'].size} parameters, "
                             f"theta has {flat.size}")
        n = int(state["step"]) + 1
''','''        ValueError when trees or shapes differ or a gradient is nan or infinite, TypeError for one
        that is not float, and for a state that neither init nor update gave.
        """
        flat, unravel = _flat("Adam: theta", theta)
        g = _flat_like("theta", theta, "grads", grads)
        if not np.isfinite(g).all():
            raise _not_finite(theta, grads)
        n = _steps_taken(state, flat.shape) + 1
''')
sub(o,'''        return stop_gradient(theta)

    def update(self, state''','''        _flat("EMA: theta", theta)
        return stop_gradient(theta)

    def update(self, state''')
sub(o,'''        average, unravel = ravel(state)
        flat = _flat_like(state, theta)
''','''        average, unravel = _flat("EMA: state", state)
        flat = _flat_like("state", state, "theta", theta)
''')
sub(o,'''        """The average as parameters of the caller's own."""
        return''','''        """The average as parameters of the caller's own."""
        _flat("EMA: state", state)
        return''')
s=open(o).read(); i=s.index("def _flat_like("); s=s[:i]+'''def _steps_taken(state: Any, shape: tuple) -> int:
    """The step of Adam's state, once its arrays are of this shape; nan in them is not looked for:
    they are made of gradients that were finite."""
    try:
        step, m, v = checks.keys("Adam: state", state, ("step", "m", "v")).values()
    except ValueError as error:
        raise TypeError(f"{error}: it must be what init or update gave") from None
    for name, x in (("m", m), ("v", v)):
        checks.floats(f"Adam: state[{name!r}] of {np.size(x)} parameters, theta has {shape[0]}: it",
                      x, shape, finite=False)
    return int(checks.integers("Adam: state['step']", step, 1, 0, 2**62))


def _flat(name: str, tree: Tree) -> Any:
    """ravel(tree), whose errors name the argument."""
    try:
        return ravel(tree)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _flat_like(name: str, tree: Tree, other_name: str, other: Tree) -> np.ndarray:
    """other as one new vector in the tree's leaf order: dicts may list their keys in another."""
    pieces: list[np.ndarray] = []

    def take(x: Any, y: Any) -> None:
        if not is_float(x):
            return
        if not is_float(y):
            raise TypeError(f"a float of {name} of shape {np.shape(x)} needs a float here, "
                            f"got {type(y).__name__}")
        if np.shape(x) != np.shape(y):
            raise ValueError(f"expected {name}'s shape {np.shape(x)}, got {np.shape(y)}")
        pieces.append(np.asarray(y).reshape(-1))

    try:
        tree_map(take, tree, other)
    except (TypeError, ValueError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(
            f"optimiser: {other_name} beside {name}: {error}") from None
    return np.concatenate(pieces)
'''
open(o,'w').write(s)
sub('refvdm/flows/flow.py','"Flow: expected at least one layer, got none"','"Flow: layers must hold at least one layer, got none"')
sub('tests/test_flows_flow.py','Flow: expected at least one layer, got none','Flow: layers must hold at least one layer, got none')
