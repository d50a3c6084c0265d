def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
o='refvdm/optim.py'
sub(o,'''    try:
        step, m, v = checks.keys("Adam: state", state, ("step", "m", "v")).values()
    except ValueError as error:
        raise TypeError(f"{error}: it must be what init or update gave") from None
    for name, x in (("m", m), ("v", v)):
        checks.floats(f"Adam: state[{name!r}] of {np.size(x)} parameters, theta has {shape[0]}: it",
                      x, shape, finite=False)
    return int(checks.integers("Adam: state['step']", step, 1, 0, 2**62))
''','''    if not isinstance(state, dict) or state.keys() != {"step", "m", "v"}:
        raise TypeError(f"Adam: state must be what init or update gave, a dict of step, m and v, "
                        f"got {list(state) if isinstance(state, dict) else state!r}")
    for name in ("m", "v"):
        x = checks.floats(f"Adam: state[{name!r}]", state[name], (...,), finite=False)
        if x.shape != shape:
            raise ValueError(f"Adam: state is of {x.size} parameters, theta has {shape[0]}")
    return int(checks.integers("Adam: state['step']", state["step"], 1, 0, 2**62))
''')
sub('tests/test_optim.py','''    with pytest.raises((ValueError, TypeError), match="gradient"):
        opt.update(theta, {"a": missing,''','''    with pytest.raises(TypeError, match="grads beside theta: a float of theta of shape .2,. needs a float here, got"):
        opt.update(theta, {"a": missing,''')
