def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
o='refvdm/optim.py'
s=open(o).read(); i=s.index("def _flat_like("); s=s[:i]+'''def _flat_like(name: str, tree: Tree, other_name: str, other: Tree) -> np.ndarray:
    """other as one new vector in the tree's leaf order: dicts may list their keys in another."""
    pieces = []
    try:
        for x, y in zip(leaves(tree), matched(tree, other)):
            if is_float(x) != is_float(y) and y is not None or is_float(x) and y is None:
                raise TypeError(f"{name} has {_called(x)}, {other_name} {_called(y)}")
            if not is_float(x):
                continue
            y = np.asarray(y)
            if y.shape != np.shape(x):
                raise ValueError(f"expected {name}'s shape {np.shape(x)}, got {y.shape}")
            pieces.append(y.reshape(-1))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"optimiser: {other_name} beside {name}: {error}") from None
    return np.concatenate(pieces)


def _called(x: Any) -> str:
    return f"floats of shape {np.shape(x)}" if is_float(x) else f"a constant ({type(x).__name__})"
'''
s=s.replace("from .autodiff.tree import Tree, is_float\n","from .autodiff.tree import Tree, is_float, leaves, matched\n")
open(o,'w').write(s)
t='tests/test_optim.py'
sub(t,'match="grads beside theta: a float of theta of shape .2,. needs a float here, got"','match="grads beside theta: theta has floats of shape .2,., grads a constant"')
sub(t,r'match=r"shape \(3,\) got a gradient of shape \(2,\)"',r'match=r"grads beside theta: expected theta\'s shape \(3,\), got \(2,\)"')
