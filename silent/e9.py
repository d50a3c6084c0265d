def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
k='tests/wrong_arguments.py'
s=open(k).read()
i=s.index("    leaf = label"+".partition") if False else s.index("            leaf = label.partition"); j=s.index('            assert named, f"{name}:')
s=s[:i]+'''            named = re.search(rf"\\b({'|'.join(names_of(name, argument, label))})(?![a-z])", str(error))
'''+s[j:]
s=s.replace('''def attempt(name''','''def names_of(name, argument, label):
    """What an error may name, as patterns."""
    arguments, leaf = CASES[name][1], label.partition(": ")
    asked = arguments if (leaf[2] or label) in SHAPES else [argument]
    leaves = [leaf[0]] if leaf[2] else []
    return [*leaves, *(each for one in asked for each in (one, *CALLED.get(one, ())))]


def attempt(name''')
open(k,'w').write(s)
