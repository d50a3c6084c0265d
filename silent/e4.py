def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
k='tests/wrong_arguments.py'
sub(k,'''    spread = np.zeros((*x.shape, 2))
''','''    spread = np.zeros((*x.shape, 2), x.dtype)
''')
sub(k,'''def wrong_elements(x):''','''def wrong_rows(x):
    """Of (batch, ..., n) with a batch that may be empty."""
    for label, bad in wrong_floats(x):
        if label not in ("empty", "longer"):
            yield label, bad


def wrong_elements(x):''')
sub(k,'''    "elements": (wrong_elements, same_floats),
''','''    "rows": (wrong_rows, same_floats), "elements": (wrong_elements, same_floats),
''')
sub(k,'''"flag": (others("no", 0, 1, 0.0, []), lambda x: [])''','''"flag": (lambda x: [(repr(b)[:30], b) for b in (None, "no", 0, 1, 0.0, [], np.ones(1, bool))],
                                                          lambda x: [("np.bool_", np.bool_(x))])''')
sub(k,'''    also = {"theta": ["parameters"], "denoiser": ["x_0_hat"]}.get(argument, [])
''','''    also = CALLED.get(argument, [])
''')
sub(k,'''            names = [argument, *also, *(arguments if label.rpartition(": ")[2] in SHAPES else ())]
''','''            leaf = label.partition(": ")[0]
            names = [argument, *also, *([leaf] if leaf in value else ()) if isinstance(value, dict) else (),
                     *(arguments if label.rpartition(": ")[2] in SHAPES else ())]
''')
sub(k,'''def attempt(name''','''# What an argument is called by who found it wrong: a layer, a network, a learned schedule
CALLED = {"theta": ["parameters"], "denoiser": ["x_0_hat"], "z": ["y"], "data": ["x"]}


def attempt(name''')
