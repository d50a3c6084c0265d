"""kill -9 at random moments over all commands; two runs at once; bit flips."""
import json, os, random, re, signal, subprocess, sys, time, shutil, hashlib
from pathlib import Path
import numpy as np
ROOT=Path('/tmp/w/silent'); BASE=Path('/tmp/w/kit/silent/campaign'); shutil.rmtree(BASE,ignore_errors=True); BASE.mkdir(parents=True)
no=BASE/'nomp'; no.mkdir(); (no/'matplotlib.py').write_text('raise ImportError("none here")')
rng=np.random.default_rng(0)
np.save(BASE/'images.npy',np.broadcast_to(rng.integers(0,4,(30,1,1)),(30,4,4)))
np.savetxt(BASE/'own.csv',rng.standard_normal((200,2)),delimiter=',')
env=dict(os.environ,PYTHONPATH=f'{ROOT}:{no}',OPENBLAS_NUM_THREADS='1')
COMMANDS={'compare_parametrisations':['--steps','60'],'mhvae_2d':['--steps','60'],'plu_flow':['--steps','60'],'own_data':['--steps','60',*os.environ.get('OWN','').split()],'vdm_2d':['--steps','60'],'neural_ode_spiral':['--steps','15'],'elbo_forms':['--steps','40'],'vdm_digits':['--steps','60','--data',str(BASE/'images.npy'),'--levels','4']}
def start(name,out,*more):
    return subprocess.Popen([sys.executable,str(ROOT/'examples'/f'{name}.py'),*COMMANDS[name],'--out',str(out),*more],env=env,stdout=subprocess.PIPE,stderr=subprocess.PIPE,text=True)
def strip(x):
    if isinstance(x,dict): return {k:strip(v) for k,v in x.items() if not re.search('second|time|memory|ms$|took|bytes|speed|cost',k)}
    if isinstance(x,list): return [strip(v) for v in x]
    return x
def result(out):
    return hashlib.sha256((out/'checkpoint.npz').read_bytes()).hexdigest(), strip(json.loads((out/'metrics.json').read_text()))
refs={}
for name in COMMANDS:
    t=time.time(); p=start(name,BASE/f'ref_{name}'); o,e=p.communicate()
    if p.returncode: print('REF FAILED',name,e[-500:]); continue
    refs[name]=(result(BASE/f'ref_{name}'),time.time()-t); print('ref',name,round(time.time()-t,1),flush=True)
sys.path.insert(0,str(ROOT))
from refvdm.checkpoint import load_checkpoint, CheckpointError
random.seed(1); tally={}
names=list(refs)
for i in range(50):
    name=names[i%len(names)]; out=BASE/f'kill_{i}'; (ref,dur)=refs[name]
    kills=0
    p=start(name,out); time.sleep(random.uniform(0.0,dur)); 
    done=p.poll() is not None
    p.send_signal(signal.SIGKILL); p.communicate()
    state='finished before' if done else 'no folder' if not out.exists() else 'no checkpoint' if not (out/'checkpoint.npz').exists() else 'metrics' if (out/'metrics.json').exists() else 'checkpoint'
    if (out/'checkpoint.npz').exists():
        try: load_checkpoint(out/'checkpoint.npz')
        except CheckpointError as e: print('DAMAGED',name,e); state+=' DAMAGED'
    p=start(name,out); o,e=p.communicate()
    same = p.returncode==0 and result(out)==ref
    tally[state]=tally.get(state,0)+1
    if not same:
        print('DIFFERS',i,name,state,p.returncode,e[-400:], result(out)[0]==ref[0] if p.returncode==0 else ''); 
        if p.returncode==0:
            a,b=result(out)[1],ref[1]; print({k:(a.get(k),b.get(k)) for k in {**a,**b} if a.get(k)!=b.get(k)})
    else: tally['equal bits']=tally.get('equal bits',0)+1; shutil.rmtree(out)
    print(i,name,state,same,flush=True)
print('KILLS',tally)
both={}
for i in range(20):
    name=['compare_parametrisations','vdm_digits','plu_flow','own_data'][i%4]
    if name not in refs: continue
    out=BASE/f'two_{i}'; fresh=[] if i%2 else ['--fresh']
    if i%3==0: shutil.copytree(BASE/f'ref_{name}',out); 
    a=start(name,out,*fresh); time.sleep(random.choice([0,0,.05,.3])); b=start(name,out,*fresh)
    ra=(a,*a.communicate()); rb=(b,*b.communicate())
    codes=sorted([a.returncode,b.returncode]); said=[r[2] for r in (ra,rb) if r[0].returncode==2]
    ok=result(out)==refs[name][0]
    key=(tuple(codes), 'held' if said and 'is in use by' in said[0] else said[0][-200:] if said else '-', ok)
    both[key]=both.get(key,0)+1; print('two',i,name,fresh,key,flush=True)
print('TWO',both)
