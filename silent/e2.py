import re
def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
sub('refvdm/autodiff/linalg.py','''    if a.ndim != 2:
        raise ValueError(f"np.linalg.solve of a Tensor: a must have shape (n, n), got {a.shape}")
''','''    if a.ndim != 2 or b.ndim not in (1, 2):
        raise ValueError(f"np.linalg.solve of a Tensor: a must have shape (n, n) and b (n,) or "
                         f"(n, k), got {a.shape} and {b.shape}")
''')
sub('refvdm/autodiff/composed.py','''    if axis is None:
        x, axis = np.ravel(x), 0
''','''    if axis is None or np.ndim(x) == 0:
        x, axis = np.ravel(x), 0
''')
# vjp
sub('refvdm/autodiff/vjp.py','''        cause: BaseException | None = error  # NumPy hides what the Tensor said
        while cause is not None:
            if refuse.NO_NUMBER in str(cause.__cause__):
                raise refuse.assigned() from error
            cause = cause.__cause__
        raise
''','''        if refuse.was_assigned(error):
            raise refuse.assigned() from error
        raise
''')
sub('refvdm/autodiff/refuse.py','''def assigned() -> TypeError:''','''def was_assigned(error: BaseException | None) -> bool:
    """NumPy hides what a Tensor said behind an error of its own, and a model that behind others."""
    while error is not None:
        error = error.__cause__
        if NO_NUMBER in str(error):
            return True
    return False


def assigned() -> TypeError:''')
# fit
sub('refvdm/fit.py','''    if not any(is_float(leaf) for leaf in leaves(theta)):
        raise ValueError("fit: theta must hold at least one array of floats to train")
    identity''','''    _check_start(theta)
    progress = checks.flag("fit: progress", progress)
    identity''')
sub('refvdm/fit.py','''# ---------------------------------------------------------------- a step's results

''','''def _check_start(theta: Tree) -> None:
    """Something to train, all of it finite numbers."""
    try:
        floats = {place: leaf for place, leaf in tree_leaves(theta) if is_float(leaf)}
    except TypeError as error:
        raise TypeError(f"fit: theta: {error}") from None
    if not floats:
        raise ValueError("fit: theta must hold at least one array of floats to train")
    for place, leaf in floats.items():
        checks.floats(f"fit: theta{place}", np.asarray(leaf), (...,))


# ---------------------------------------------------------------- a step's results

''')
sub('refvdm/fit.py','''    """The settings as a checkpoint gives them back, so that two runs can be compared."""
    try:''','''    """The settings as a checkpoint gives them back, so that two runs can be compared."""
    if not isinstance(settings, dict):
        raise TypeError(f"fit: settings must be a dict, got {type(settings).__name__}")
    try:''')
sub('refvdm/fit.py','_as_json(settings or {})','_as_json({} if settings is None else settings)')
sub('refvdm/fit.py','''    path = Path(checkpoint)
    if path.is_dir():
        raise ValueError(f"fit: checkpoint must be a file, {path} is a folder")
    path''','''    path = checks.file("fit: checkpoint", checkpoint)
    path''')
sub('refvdm/fit.py','from .autodiff.tree import Tree, is_float, leaves\n','from .autodiff.tree import Tree, is_float\n')
# checkpoint
sub('refvdm/checkpoint.py','''    others: what was saved can be loaded. OSError, naming `path`, when it cannot be written.
    """
    path = Path(path)
''','''    others: what was saved can be loaded. OSError, naming `path`, when it cannot be written;
    ValueError when it is a folder or a device.
    """
    path = checks.file("save_checkpoint: path", path)
''')
sub('refvdm/checkpoint.py','''    FileNotFoundError when there is no file; CheckpointError, saying why, when it cannot be used.
    """
    path = Path(path)
''','''    FileNotFoundError when there is no file, ValueError when it is a folder or a device;
    CheckpointError, saying why, when it cannot be used.
    """
    path = checks.file("load_checkpoint: path", path)
''')
sub('refvdm/checkpoint.py','''            and not isinstance(tree, EXTRAORDINARY)):
        arrays.append''','''            and not isinstance(tree, EXTRAORDINARY)):
        arrays.append''')
sub('refvdm/checkpoint.py','''tree.dtype.kind in "biufc"''','''tree.dtype.kind in NUMBERS''')
sub('refvdm/checkpoint.py','''EMPTY_COMMENT =''','''NUMBERS = "biufc"  # kinds of dtypes; complex ones, for who saves more than parameters
EMPTY_COMMENT =''')
sub('refvdm/checkpoint.py','''    if dtype.hasobject or math.prod''','''    if dtype.kind not in NUMBERS or math.prod''')
sub('refvdm/checkpoint.py','''        raise ValueError(f"member {info.filename} promises shape {shape} of {dtype}, "
                         f"but has {there} bytes")''','''        raise ValueError(f"member {info.filename} promises shape {shape} of {dtype}, which are no "
                         f"numbers in its {there} bytes")''')
# denoiser
p='refvdm/vdm/model.py'
sub(p,'''    logits = checks.returned("denoiser.logits", denoiser.logits(theta, x_t, t), shape, t, log=True)
''','''    asked = theta, x_t, t
    logits = checks.answer("denoiser.logits", denoiser.logits, asked, shape, t, log=True)
''')
sub(p,'''    x_0_hat = denoiser.expectation(logits)
    return Prediction(checks.returned("denoiser.expectation", x_0_hat, x_t.shape, t), logits)
''','''    x_0_hat = checks.answer("denoiser.expectation", denoiser.expectation, (logits,), x_t.shape, t)
    return Prediction(x_0_hat, logits)
''')
sub(p,'''    """x̂_0(x_t, t) alone. TypeError unless it is an array of floats, ValueError unless it is finite
    and of x_t's shape; both name t."""
    return checks.returned("the denoiser", denoiser(theta, x_t, t), x_t.shape, t)
''','''    """x̂_0(x_t, t) alone. TypeError unless it is an array of floats, ValueError unless it is finite
    and of x_t's shape; both name t, as does an error that the denoiser raised."""
    return checks.answer("the denoiser", denoiser, (theta, x_t, t), x_t.shape, t)
''')
sub(p,'''        log_prob = self.decoder.log_prob(x_0, x_1, prediction, self.schedule)
        return checks.returned("decoder.log_prob", log_prob, x_0.shape[:1], log=True)
''','''        asked = x_0, x_1, prediction, self.schedule
        return checks.answer("decoder.log_prob", self.decoder.log_prob, asked, x_0.shape[:1],
                             log=True)
''')
sub(p,'''        x_0 = sample(x_1, prediction, self.schedule, eps)
        return checks.returned("decoder.sample", x_0, x_1.shape)
''','''        asked = x_1, prediction, self.schedule, eps
        return checks.answer("decoder.sample", sample, asked, x_1.shape)
''')
sub('refvdm/vdm/probability_flow.py','''    log_base = sum_per_example(log_normal(x_T, 0.0, 0.0)) if base is None else base(x_T)
    return checks.returned("base", log_base, (n,), log=True) + end[:, D]
''','''    if base is None:
        return sum_per_example(log_normal(x_T, 0.0, 0.0)) + end[:, D]
    return checks.answer("base", base, (x_T,), (n,), log=True) + end[:, D]
''')
