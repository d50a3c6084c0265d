import re
def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
m='tests/boundary_models.py'
s=open(m).read()
s=s.replace('''         *([("theta", "lower: empty")] if False else []), theta=("parameters", theta), **{x: ("floats", X)})
''','''         *([("theta", UNREAD), ("theta", "sign: negative")] if kind == "PLU" else [("theta", SATURATED)]),
         theta=("parameters", theta), **{x: ("rows", X)})
''')
s=s.replace('''POSITIONS = "an axis more"  # between batch and last axis there may be any number
''','''# the last element of a triangle is never read; the tanh of infinity is 1
UNREAD = ", ".join(f"{key}: {bad}" for key in ("lower", "upper") for bad in ("nan", "inf", "-inf"))
SATURATED = ", ".join(f"{key}: {bad}" for key in ("W1", "b1", "W2", "b2") for bad in ("inf", "-inf"))
''')
s=s.replace('''         *([("rng", "a string, a bool, an object, a set, 3, None, <module 'numpy.random' from '/, "
                    "RandomState(MT19937), 0")] if kind == "ActNorm" else []), rng=RNG, dtype=DTYPE)
''','''         rng=("any", None) if kind == "ActNorm" else RNG, dtype=DTYPE)
''')
s=s.replace('W=("reals", np.eye(3) + 0.1)','W=("floats", np.eye(3) + 0.1)')
s=s.replace('''    case(f"PLU.{method}", getattr(PLU(4), method), theta=("parameters", THETA[0]))
''','''    case(f"PLU.{method}", getattr(PLU(4), method), ("theta", UNREAD), ("theta", "sign: negative"),
         theta=("parameters", THETA[0]))
''')
s=s.replace('"floats?", X','"rows?", X').replace('x=("floats", X)','x=("rows", X)').replace('z=("floats", X)','z=("rows", X)').replace('y=("floats", X)','y=("rows", X)').replace('("floats", IMAGE)','("rows", IMAGE)').replace('("floats", X.reshape(6, 2))','("rows", X.reshape(6, 2))')
s=s.replace('state=("parameters", ADAM.init(TREE)))','state=("adam", ADAM.init(TREE)))')
s=s.replace('''# ---------------------------------------------------------------- hierarchical''','''KINDS["adam"] = (lambda state: [*KINDS["theta"][0](state), ("m: longer", state | {"m": np.ones(17)}), ("step: -1", state | {"step": -1}),
                                ("v: masked", state | {"v": np.ma.array(state["v"])})],
                 lambda state: [("an int", state | {"step": 0})])

# ---------------------------------------------------------------- hierarchical''',1)
open(m,'w').write(s)
