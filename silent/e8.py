def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
k='tests/wrong_arguments.py'
sub(k,'''CALLED = {"theta": ["parameters"], "denoiser": ["x_0_hat"], "z": ["y"], "data": ["x"]}
''','''CALLED = {"theta": ["parameters"], "denoiser": ["x_0_hat"], "z": ["y", "x"], "data": ["x"], "x": ["z_0"],
          "zs": ["z_[12]", "latents"], "eps": ["noise"], "encoders": [r"encoder \\d"], "decoders": [r"decoder \\d"]}
''')
sub(k,'''    also = CALLED.get(argument, [])
''','')
sub(k,'''            names = [argument, *also, *(arguments if label.rpartition(": ")[2] in SHAPES else ())]
            if isinstance(value, dict) and leaf in value:
                names.append(leaf)
            named = re.search(rf"\\b({'|'.join(names)})(?![a-z])", str(error))
''','''            asked = arguments if label.rpartition(": ")[2] in SHAPES else [argument]
            names = [name for asked_for in asked for name in (asked_for, *CALLED.get(asked_for, ()))]
            if isinstance(value, dict) and leaf in value:
                names.append(leaf)
            named = re.search(rf"\\b({'|'.join(names)})(?![a-z])", str(error))
''')
sub(k,'''def wrong_elements(x):''','''def wrong_unseen(x):
    """Of (..., n) whose values nobody looks at: nan gives nan."""
    for label, bad in wrong_rows(x):
        if label not in ("nan", "inf", "-inf", "an axis less"):
            yield label, bad


def wrong_elements(x):''')
sub(k,'''    "rows": (wrong_rows''','''    "unseen": (wrong_unseen, same_floats), "rows": (wrong_rows''')
sub(k,'''    "parameters": (wrong_parameters''','''    "weights": (lambda theta: [pair for pair in wrong_parameters(theta) if pair[0].rpartition(": ")[2] not in (
        "nan", "inf", "-inf")], same_parameters),
    "parameters": (wrong_parameters''')
m='tests/boundary_models.py'
s=open(m).read()
s=s.replace('case("PLU.from_matrix", PLU.from_matrix, W','case("PLU.from_matrix", PLU.from_matrix, ("W", "list"), W')
s=s.replace('case("Split.forward", HALF.forward, theta','case("Split.forward", HALF.forward, ("theta", UNREAD), ("theta", "sign: negative"), theta').replace('case("Split.inverse", HALF.inverse, theta','case("Split.inverse", HALF.inverse, ("theta", UNREAD), ("theta", "sign: negative"), theta')
s=s.replace('case("MLP.__call__", NET, theta=("parameters", WEIGHTS), x=("rows", X))','case("MLP.__call__", NET, theta=("weights", WEIGHTS), x=("unseen", X))')
s=s.replace('case("time_features", time_features, t=','case("time_features", time_features, ("t", "0, after T, negative, longer, an axis more"), t=')
s=s.replace('Ring().sample, n=','Ring().sample, ("n", "0"), n=').replace('Crescents().sample, n=','Crescents().sample, ("n", "0"), n=')
s=s.replace('Ring().log_prob, x=','Ring().log_prob, ("x", "an axis less"), x=').replace('Crescents().log_prob, x=','Crescents().log_prob, ("x", "an axis less"), x=')
s=s.replace('z=("rows", X))\nKINDS','z=("unseen", X))\nKINDS')
i=s.index('MODEL, ZS ='); j=s.index('def part('); l=s.index('CONDITIONAL ='); 
s=s[:i]+'''ENCODERS = {"theta": ("theta", {name: PARTS[name] for name in ("q1", "q2")}), "x": ("floats", X)}
DECODERS = {"theta": ("theta", {name: PARTS[name] for name in ("p1", "p2")})}
BOTH, ZS, MORE = {"theta": ("theta", PARTS), "x": ("floats", X)}, ("latents", [X, Y]), ("theta", "extra key")


'''+s[j:l].replace('lambda **a: HVAE.elbo(**a), **MODEL','HVAE.elbo, MORE, **BOTH').replace('lambda **a: HVAE.encode(**a), **MODEL','HVAE.encode, MORE, **ENCODERS').replace('HVAE.importance_bound, **MODEL, samples','HVAE.importance_bound, MORE, theta=BOTH["theta"], x=("rows", X), samples').replace('HVAE.log_joint, **MODEL','HVAE.log_joint, MORE, **DECODERS, x=("floats", X)').replace('HVAE.log_posterior, **MODEL','HVAE.log_posterior, MORE, **ENCODERS').replace('HVAE.sample, theta=MODEL["theta"]','HVAE.sample, MORE, **DECODERS').replace('HVAE.ancestral_path, theta=MODEL["theta"]','HVAE.ancestral_path, MORE, **DECODERS').replace('z_T=z_T, eps=eps), z_T','z_T=z_T, eps=eps), ("z_T", "list"), z_T')+s[l:]
open(m,'w').write(s)
g='refvdm/gaussian.py'
sub(g,'''number, an array of floats or a Tensor; TypeError for anything else, arrays of integers too. Inner
loops come here, so values are not looked at: as in NumPy's own functions nan gives nan.
''','''number, an array of floats or a Tensor; TypeError for anything else, arrays of integers too. Inner
loops come to the diagonal ones, so values are not looked at: as in NumPy's own functions nan gives
nan. Those with full covariance raise ValueError for what is not finite.
''')
sub(g,'''        checks.floats(f"{who}: {name}", x, (...,), finite=False)


''' if False else '''        checks.floats(f"{who}: {name}", x, (...,), finite=False)
''','''        checks.floats(f"{who}: {name}", x, (...,))
''')
o='refvdm/optim.py'
sub(o,'''        if not is_float(x):
            return
        if not is_float(y):''','''        if not is_float(x):
            if is_float(y):
                raise TypeError(f"{name} has a constant where a float is here")
            return
        if not is_float(y):''')
sub('tests/test_flows_glow.py','Split: made for examples of shape','Split: made for examples x of shape')
