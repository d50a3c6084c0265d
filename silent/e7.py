def sub(p,a,b,n=1):
    s=open(p).read(); assert a in s,(p,a); open(p,'w').write(s.replace(a,b,n))
sub('tests/wrong_arguments.py','''            names = [argument, *also, *([leaf] if leaf in value else ()) if isinstance(value, dict) else (),
                     *(arguments if label.rpartition(": ")[2] in SHAPES else ())]
''','''            names = [argument, *also, *(arguments if label.rpartition(": ")[2] in SHAPES else ())]
            if isinstance(value, dict) and leaf in value:
                names.append(leaf)
''')
sub('refvdm/flows/glow.py','''f"Squeeze: expected images (h, w, c) with h and w multiples of {f}, "
                             f"got {shape}")''','''f"Squeeze: the shape of an example x must be (h, w, c) with h and "
                             f"w multiples of {f}, got {shape}")''')
sub('refvdm/flows/glow.py','''f"Squeeze: expected shape (batch, h, w, c) with c a multiple of "
                             f"{f * f}, got {y.shape}")''','''f"Squeeze: y must have shape (batch, h, w, c) with c a multiple of "
                             f"{f * f}, got {y.shape}")''')
sub('refvdm/flows/glow.py','''f"Split: made for examples of shape {self.shape}, got {shape}")''','''f"Split: made for examples x of shape {self.shape}, got {shape}")''')
s=open('tests/test_flows_glow.py').read()
s=s.replace(r'match=r"Squeeze: expected images \(h, w, c\) with h and w multiples of 2, got \("',r'match=r"Squeeze: the shape of an example x must be \(h, w, c\) with h and w multiples of 2, got \("')
s=s.replace('match="Squeeze: expected images"','match="Squeeze: the shape of an example x"').replace(r'match=r"Squeeze: expected shape \(batch, h, w, c\) with',r'match=r"Squeeze: y must have shape \(batch, h, w, c\) with')
open('tests/test_flows_glow.py','w').write(s)
