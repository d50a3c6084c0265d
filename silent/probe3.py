exec(open('/tmp/w/kit/silent/probe1.py').read().split('print("--- 1")')[0])
import tempfile, os, io, zipfile, json, hashlib, time, tracemalloc, resource, sys
from pathlib import Path
from refvdm.checkpoint import *
from refvdm.checkpoint import _packed,_encode, CheckpointError, FORMAT
d=Path(tempfile.mkdtemp(dir='/tmp/w/kit/silent'))
print('--- 6 trees refused at save')
class Q: pass
for k,tree in {'tuple key':{(1,2):X},'np int key':{np.int64(1):X},'object field':{'a':Q()},'object arr':{'a':np.array([Q()])},'str arr':{'a':np.array(['a'])},'bytes':{'a':b'x'},'datetime':{'a':np.array(['2020-01-01'],'M8[D]')},'void':{'a':np.zeros(2,[('a','f8')])},'np.str':{'a':np.str_('a')},'complex':{'a':1j},'set':{'a':{1}},'bool key':{True:X,1:X} ,'nan key':{float('nan'):X},'namedtuple':{'a':Forms(X,X,X)}, 'np.float64 key':{np.float64(1.):X},'nan value':{'a':float('nan')},'big int':{'a':10**400},'surrogate':{'a':'\ud800'},'int subclass': {'a': __import__('enum').IntEnum('E','A B').A}, 'str subclass key': {type('S',(str,),{})('k'):X},'longdouble':{'a':np.ones(2,np.longdouble)},'big-endian':{'a':X.astype('>f8')},'F':{'a':np.asfortranarray(X)},'deep':None, 'empty':{}, 'root array':X,'0d':np.array(1.), 'bool':{'a':True}, 'key 1 and True': {1:X,'1':X}}.items():
    if k=='deep':
        tree=X
        for _ in range(3000): tree=[tree]
    pth=d/'t.npz'
    try:
        save_checkpoint(pth,tree)
    except Exception as e: print('  ',k,'save:',type(e).__name__,str(e)[:150]); continue
    try:
        back=load_checkpoint(pth); print('  ',k,'back',str(back)[:80].replace('\n',' ') , type(back.get('a') if isinstance(back,dict) else back))
    except Exception as e: print('!!',k,'load:',type(e).__name__,str(e)[:150])
print('--- versions')
def make(header,arrays): 
    (d/'v.npz').write_bytes(_packed(header,arrays)); return d/'v.npz'
arrs=[]; tree=_encode({'a':X},arrs,'')
for v in [float('nan'),True,0,-3,2,1.0,'1',None,1]:
    t(f'version {v}',lambda: load_checkpoint(make({'format':FORMAT,'version':v,'tree':tree},arrs)))
for tr in [{'foo':1},{'array':5},{'array':-1},{'array':True},{'array':0.0},{'dict':3},{'dict':[[1]]},{'list':3},{'value':[1]},{'value':{}},[],3,None,{'list':[],'tuple':[]},{'dict':[[[1],{'value':1}]]}]:
    t(f'tree {tr}',lambda: load_checkpoint(make({'format':FORMAT,'version':1,'tree':tr},arrs)))
print('--- 1 GiB header')
def header_bytes(shape,descr="'<f8'",n=0):
    h=("{'descr': %s, 'fortran_order': False, 'shape': %s, }"%(descr,shape)); h=h+' '*(63-(len(h)+10)%64)+'\n'
    return b'\x93NUMPY\x01\x00'+len(h).to_bytes(2,'little')+h.encode()+b'\0'*n
def sealed(members,compress=zipfile.ZIP_STORED):
    b=io.BytesIO()
    with zipfile.ZipFile(b,'w',compress) as z:
        for n,x in members.items(): z.writestr(n,x)
    a=b.getvalue()[:-2]; body=a+(7+64).to_bytes(2,'little')+b'sha256 '
    return body+hashlib.sha256(body).hexdigest().encode()
hd=json.dumps({'format':FORMAT,'version':1,'tree':{'array':0}}).encode()
good_h=io.BytesIO(); np.save(good_h,np.frombuffer(hd,np.uint8)); 
def peak(f):
    tracemalloc.start(); t0=time.time()
    try: f(); r='OK??'
    except Exception as e: r=f'{type(e).__name__}: {str(e)[:160]}'
    p=tracemalloc.get_traced_memory()[1]; tracemalloc.stop(); print('  ',r, f'peak {p/1e6:.1f} MB {time.time()-t0:.2f}s')
for name,x in {'shape 1GiB':header_bytes('(134217728,)',n=80),'huge':header_bytes('(10**30,)',n=8),'huge2':header_bytes('(1000000000000000000000000,)',n=8),'neg':header_bytes('(-1,)',n=8),'0 x huge':header_bytes('(0,99999999999999999999999)'),'fewer':header_bytes('(1,)',n=72000),'dtype':header_bytes('(9000,)',"'<f4'",72000),'object':header_bytes('(1,)',"'|O'",8),'long header':b'\x93NUMPY\x02\x00'+(2**30).to_bytes(4,'little')+b' '*100,'v3':b'\x93NUMPY\x03\x00'+b'\0'*100,'zero itemsize':header_bytes('(99999999999,)',"'|V0'",0), 'true shape':header_bytes('(True,)',n=8), 'str':header_bytes('(1,)',"'<U2'",8), 'struct':header_bytes('(1,)',"[('a','<f8')]",8),'subarray':header_bytes('(1,)',"('<f8',(2,))",16)}.items():
    (d/'g.npz').write_bytes(sealed({'0.npy':x,'header.npy':good_h.getvalue()})); print(name); peak(lambda: load_checkpoint(d/'g.npz'))
(d/'g.npz').write_bytes(sealed({'0.npy':header_bytes('(100000000,)',"'|u1'",100000000),'header.npy':good_h.getvalue()},zipfile.ZIP_DEFLATED)); print('bomb'); peak(lambda: load_checkpoint(d/'g.npz'))
print('--- ENOSPC/EROFS')
t('missing', lambda: load_checkpoint(d/'no.npz')); t('folder', lambda: load_checkpoint(d)); t('None', lambda: load_checkpoint(None)); t('save None', lambda: save_checkpoint(None,{'a':X})); t('save folder', lambda: save_checkpoint(d,{'a':X}));t('/dev/full', lambda: save_checkpoint('/dev/full',{'a':X})); t('/proc', lambda: save_checkpoint('/proc/x/y.npz',{'a':X}))
resource.setrlimit(resource.RLIMIT_FSIZE,(1000,1000)); import signal; signal.signal(signal.SIGXFSZ,signal.SIG_IGN)
t('EFBIG',lambda: save_checkpoint(d/'big.npz',{'a':np.ones(10000)})); print(sorted(os.listdir(d)))
