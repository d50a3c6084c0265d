import sys; sys.path.insert(0,'tests')
import wrong_arguments as w, numpy as np, re, traceback
import os; os.environ["TQDM_DISABLE"]="1"
for m in sys.argv[1:]: __import__(m)
n=0
for name,(call,args) in w.CASES.items():
    for a in args:
        kind,value=args[a]; opt=kind[-1]=='?'; k=kind.rstrip('?'); wrong,same=w.KINDS[k]
        def result(g):
            given={**{key:v for key,(_,v) in args.items()},a:g}
            for key,(o,_) in args.items():
                if o=='rng' and key!=a: given[key]=w.seeded()
            with np.errstate(all='raise'): return w.arrays(call(**given))
        try: exp=result(w.seeded() if k=='rng' else value)
        except Exception as e: print('BASE',name,a,type(e).__name__,e); continue
        for l,o in same(value):
            try:
                for g,r in zip(result(o),exp,strict=True): np.testing.assert_allclose(g,r,rtol=1e-12)
            except BaseException as e: print('SAME',name,a,l,type(e).__name__,str(e)[:150].replace('\n',' '))

        for l,b in wrong(value):
            if l=='None' and opt: continue
            n+=1
            try: r=result(b)
            except w.REFUSALS as e:
                names=w.names_of(name,a,l)
                if not re.search(rf"\b({'|'.join(names)})(?![a-z])",str(e)): print('UNNAMED',name,'|',a,'|',l,'|',type(e).__name__,str(e)[:170])
            except BaseException as e: print('RAW',name,'|',a,'|',l,'|',type(e).__name__,str(e)[:150])
            else:
                if (name,a,l) not in w.RIGHT: print('SILENT',name,'|',a,'|',l,'|',str(r)[:60].replace('\n',' '))
print(n)
