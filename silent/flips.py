import sys, numpy as np, tempfile, time; sys.path.insert(0,'/tmp/w/silent')
from refvdm.checkpoint import *
from pathlib import Path
d=Path(tempfile.mkdtemp(dir='/dev/shm')); p=d/'c.npz'
rng=np.random.default_rng(0)
save_checkpoint(p,{'theta':{'W':rng.standard_normal((90,100)),'b':rng.standard_normal(100).astype('f4')},'step':np.array(3),'name':'run','k':[1,None,True]})
good=p.read_bytes(); print(len(good)); n=0; t=time.time()
for at in rng.choice(8*len(good),10000,replace=False):
    bad=bytearray(good); bad[at//8]^=1<<(at%8); bad=bytes(bad); p.write_bytes(bad)
    try: load_checkpoint(p); print('SILENT',at)
    except CheckpointError as e: n+= str(p) in str(e) and p.read_bytes()==bad
print('flips refused, file as it was:',n,round(time.time()-t,1),'s')
