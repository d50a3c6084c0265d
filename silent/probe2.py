import warnings, sys
exec(open('/tmp/w/kit/silent/probe1.py').read().split('print("--- 1")')[0])
from refvdm.checkpoint import save_checkpoint, load_checkpoint
from refvdm.vdm.network import AxialNetwork
import tempfile, os
print('--- 3')
p=PLU(2); tp=p.init(rng())
for k,v in {'sign 2':dict(sign=np.array([2,1],np.int8)),'sign 0':dict(sign=np.array([0,1],np.int8)),'nan lower':dict(lower=np.array([[0,0],[np.nan,0]])),'nan ls':dict(log_scale=np.array([np.nan,0]))}.items():
    t('PLU '+k, lambda: p.forward({**tp,**v},X)); 
    t('PLU log_det '+k, lambda: p.log_det({**tp,**v})) if 'lower' not in k else None
a=ActNorm(2); ta=a.init(rng())
for s in [(1,),(),(3,2)]:
    t(f'ActNorm {s}', lambda: a.forward({**ta,'log_scale':np.zeros(s)},X))
c=AffineCoupling(2,hidden=3)
hv=MarkovianHVAE([lambda th,z:(z*th['a'],0*z)],[lambda th,z:(z*th['a'],0*z)])
net=MLP((2,3,2))
for th0 in ({},None):
    t('MLP',lambda:net(th0,X)); t('ActNorm',lambda:a.forward(th0,X)); t('coupling',lambda:c.forward(th0,X)); t('hvae',lambda:hv.elbo(th0,X,rng()))
    ls=LearnedSchedule(T,-3.,3.)
    v=VDM(lambda th,x,t:x*th['a'],S,GaussianDecoder(.3))
    t('elbo',lambda:v.elbo(th0,X,rng())); t('evaluate',lambda:evaluate(v,th0,X)); 
    v2=VDM(lambda th,x,t:x,ls,GaussianDecoder(.3)); t('elbo learned',lambda:v2.elbo(th0,X,rng())); t('elbo learned2',lambda:v2.elbo({'denoiser':None,'schedule':th0},X,rng()))
lv=LearnedVariance(T); tv=lv.init(None)
v3=VDM(lambda th,x,t:x,S,GaussianDecoder(.3),lv)
print({k:np.shape(x) for k,x in tv.items()})
for k in tv: t('LV nan',lambda:v3.elbo({'denoiser':None,'variance':{**tv,k:np.full(np.shape(tv[k]),np.nan)}},X,rng()))
tc=c.init(rng())
for k in tc: t('coupling nan '+k, lambda:c.forward({**tc,k:tc[k]*np.nan},X))
o=Adam(); st=o.init(th); t('Adam nan',lambda:o.update(th,th*np.nan,st))
print('--- 4')
G=GaussianDenoiser(np.zeros(2),np.eye(2),S)
t('log_prob_data int',lambda:G.log_prob_data(np.ones((3,2),int)))
t('log_posterior int',lambda:G.log_posterior(np.ones((3,2),int),X,2))
t('Schedule complex',lambda:Schedule(np.arange(3.)+0j)); t('from_alphas c',lambda:Schedule.from_alphas(np.full(3,.5)+0j))
t('Mix c',lambda:MixtureDenoiser([1+0j],np.zeros((1,2)),[np.eye(2)],S)); t('Mix means c',lambda:MixtureDenoiser([1],np.zeros((1,2))+0j,[np.eye(2)],S))
m=lambda x: np.ma.array(x,mask=np.arange(np.size(x)).reshape(np.shape(x))==0)
t('Schedule m',lambda:Schedule(m(np.arange(3.)))); t('from_alphas m',lambda:Schedule.from_alphas(m(np.full(3,.5)))); t('var m',lambda:VDM(lambda *a:0,S,GaussianDecoder(1),m(np.ones(5))))
t('Cat m',lambda:CategoricalDecoder(m(np.arange(3.)))); t('PLU m',lambda:p.forward(tp,m(X))); t('PLU th m',lambda:p.forward({**tp,'lower':m(tp['lower'])},X)); t('hvae m',lambda:hv.elbo({'a':1.},m(X),rng())); t('hvae th m',lambda:hv.elbo({'a':m(np.ones(2))},X,rng()))
f=lambda z,t,th:-z
t('ts m',lambda:solve(f,X,m(np.array([0.,1.])))); t('field m',lambda:solve(lambda z,t,th:m(-z),X,[0,1])); t('z0 m',lambda:solve(f,m(X),[0,1])); t('theta m', lambda: solve(lambda z,t,th:-z*th,X,[0,1.],m(np.ones(2))))
so=solve(f,X,[0,1.]); t('zs_bar m',lambda:adjoint(f,so,m(so.zs))); t('save m',lambda:save_checkpoint('/tmp/w/kit/silent/x.npz',{'a':m(X)}))
t('Adam m', lambda: o.update(th,m(th),st)); t('Adam theta m', lambda: o.update(m(th),th,st)); t('EMA m', lambda: EMA(.5).update(th,m(th))); t('vjp m', lambda: vjp(np.sum, m(X))); t('ravel m', lambda: ravel(m(X))); t('stop_gradient m', lambda: stop_gradient(m(X)))
t('fit theta m', lambda: fit(lambda th,r: np.sum(th*th), m(th), rng(), steps=2, optimizer=Adam(), progress=False))
t('adam int grads', lambda: o.update(th, np.ones(2,int), st)); t('adam complex', lambda: o.update(th, th+0j, st)); t('adam m c', lambda: o.update(th+0j, th, st))
print('--- 7')
seen=[]
def ff(z,t,th): seen.append(np.asarray(t)); return -z
t('f32 1e9',lambda:(solve(ff,np.ones(2,np.float32),[1e9,1e9+100]).stats, seen[0].dtype, float(seen[0]), float(seen[1])))
t('f32 1e9 fixed',lambda:(solve(ff,np.ones(2,np.float32),[1e9,1e9+1],step=.1).stats))
t('f32 1e5',lambda:(solve(ff,np.ones(2,np.float32),[1e5,1e5+1]).stats))
print('--- 8')
t('st 0',lambda:vjp(lambda a,b:solve_triangular(a,b),np.zeros((0,0)),np.zeros(0))[1](np.zeros(0)))
t('st 0k',lambda:vjp(lambda a,b:solve_triangular(a,b),np.zeros((0,0)),np.zeros((0,2)))[1](np.zeros((0,2))))
t('sum0',lambda:vjp(lambda a:np.sum(a,axis=-1),np.array(2.))[1](np.array(1.)))
t('lse0',lambda:vjp(lambda a:logsumexp(a,axis=-1),np.array(2.))[1](np.array(1.)))
for fn in (np.mean,np.max,np.cumsum,np.var,np.std,np.prod,np.sort,np.flip,np.squeeze,log_softmax): t(f'{fn.__name__} 0d',lambda:vjp(lambda a:fn(a,axis=-1),np.array(2.))[1](vjp(lambda a:fn(a,axis=-1),np.array(2.))[0]))
t('lse0 empty',lambda:vjp(lambda a:logsumexp(a,axis=-1),np.zeros((2,0)))[0])
t('np.linalg.solve 00',lambda:vjp(lambda a,b:np.linalg.solve(a,b),np.zeros((0,0)),np.zeros(0))[1](np.zeros(0)))
print('--- 9')
g=lambda f,x=X: (lambda: vjp(f,x))
for nm,f in {'cholesky':lambda x:np.linalg.cholesky(x),'pinv':lambda x:np.linalg.pinv(x),'floor':np.floor,'roll2':lambda x:np.gradient(x),'pad':lambda x:np.pad(x,1),'mod':lambda x:x%2,'floordiv':lambda x:x//2,'divmod':lambda x:divmod(x,2),'round':lambda x:round(x),'rmod':lambda x:2%x,'np.round':lambda x:np.round(x),'np.mod':lambda x:np.mod(x,2),'np.divmod':lambda x: np.divmod(x,2),'np.fmod':lambda x:np.fmod(x,2), 'median':lambda x: np.median(x),'argmax':lambda x: np.argmax(x),'x.argmax':lambda x:x.argmax(), 'interp': lambda x: np.interp(x,[0,1.],[0,1.])}.items(): t(nm,g(f))
def asg(x):
    a_=np.zeros(3); a_[0]=x; return a_
def asg2(x):
    a_=np.zeros((3,2)); a_[0]=x[0]; return a_
def asg3(x):
    a_=np.zeros(3); a_[0]=x[0,0]; return a_
t('a[i]=t',g(asg)); t('a[i]=x[i]',g(asg2)); t('a[i]=x[0,0]',g(asg3))
t('a[i]=t inside value_and_grad',lambda:value_and_grad(lambda x:asg3(x)[0])(X)); t('list np.array',g(lambda x:np.array([x[0],x[1]])))
class Tensor_:
    pass
t('solve tuple',lambda:solve(f_,(X,X),[0,1.]) if False else solve(lambda z,t,th:-z,(np.ones(2),np.ones(2)),[0,1]))
t('solve dict',lambda:solve(lambda z,t,th:-z,{'a':X},[0,1])); t('solve complex',lambda:solve(lambda z,t,th:-z,X+0j,[0,1])); t('solve int',lambda:solve(lambda z,t,th:-z,np.ones(2,int),[0,1])); t('solve int list',lambda:solve(lambda z,t,th:-z,[1,2],[0,1])); t('solve intnum',lambda:solve(lambda z,t,th:-z,1,[0,1])); t('solve str',lambda:solve(lambda z,t,th:-z,'1',[0,1])); t('solve ragged tuple',lambda:solve(lambda z,t,th:-z,(np.ones(2),np.ones(3)),[0,1]))
t('odeint mode',lambda:odeint(lambda z,t,th:-z,X,[0,1.],gradient='foo')); t('odeint backward',lambda:odeint(lambda z,t,th:-z,X,[0,1.],backward={'foo':1})); t('odeint backward2',lambda:odeint(lambda z,t,th:-z,X,[0,1.],gradient='backsolve',backward={'rtol':'a'})); t('odeint opt',lambda:odeint(lambda z,t,th:-z,X,[0,1.],foo=1))
t('sample shape -',lambda:vd.sample(th,(-3,2),rng())); t('sample shape f',lambda:vd.sample(th,(3.,2),rng())); t('strnum',lambda:GaussianDecoder('1')); t('strnum2',lambda:Schedule(['0','1','2']))
ok=dict(steps=2,optimizer=Adam(),progress=False)
L=lambda th,r:np.sum(th*th)
t('fit validate',lambda:fit(L,th,rng(),**ok,validate=3)); t('fit extras',lambda:fit(lambda th,r:(np.sum(th*th),[1]),th,rng(),**ok)); t('fit extras2',lambda:fit(lambda th,r:(np.sum(th*th),{'a':X}),th,rng(),**ok)); t('fit opt',lambda:fit(L,th,rng(),steps=2,optimizer='adam',progress=False)); t('fit ema',lambda:fit(L,th,rng(),**ok,ema=.9)); t('fit optclass',lambda:fit(L,th,rng(),steps=2,optimizer=Adam,progress=False)); t('fit validate ret',lambda:fit(L,th,rng(),**ok,validate=lambda th:'a')); t('fit validate ret c',lambda:fit(L,th,rng(),**ok,validate=lambda th:1j)); t('fit val arr',lambda:fit(L,th,rng(),**ok,validate=lambda th:th)); t('fit progress',lambda:fit(L,th,rng(),steps=2,optimizer=Adam(),progress='no')); t('fit settings',lambda:fit(L,th,rng(),**ok,settings=[1])); t('fit checkpoint int',lambda:fit(L,th,rng(),**ok,checkpoint=3)); t('fit ckpt every 0',lambda:fit(L,th,rng(),**ok,checkpoint_every=0)); t('fit loss None',lambda:fit(lambda th,r:None,th,rng(),**ok)); t('fit loss vec',lambda:fit(lambda th,r:th,th,rng(),**ok)); t('fit loss str', lambda: fit(lambda th,r:'a',th,rng(),**ok)); t('fit theta None',lambda:fit(L,None,rng(),**ok)); t('fit theta complex', lambda: fit(L,th+0j,rng(),**ok)); t('fit nan theta', lambda: fit(L,th*np.nan,rng(),**ok)); t('fit aux masked', lambda: fit(lambda th,r:(np.sum(th*th),{'a':m(np.array(1.))}),th,rng(),**ok)); t('fit aux nan', lambda: fit(lambda th,r:(np.sum(th*th),{'a':np.nan}),th,rng(),**ok).history); t('settings key', lambda: fit(L,th,rng(),**ok,settings={1:2, '1':3}))
t('PLU.sign',lambda:p.sign({**tp,'sign':np.array([2,1])})); t('Adam inf',lambda:Adam(np.inf)); t('cos',lambda:Adam(cosine_steps=2.7)); t('Axial',lambda:AxialNetwork(2,1,2,2.0)); t('Mix none',lambda:MixtureDenoiser([],np.zeros((0,2)),np.zeros((0,2,2)),S)); t('Mix none2',lambda:MixtureDenoiser([],[],[],S))
print('--- 10'); 
big=X.astype('>f8'); v=VDM(lambda th,x,t:.5*x,S,GaussianDecoder(.3)); e1=evaluate(v,None,X); e2=evaluate(v,None,big); print([np.array_equal(a_,b_) for a_,b_ in zip(e1,e2)],e2.total.dtype); 
e1=evaluate(v,None,X.astype('f4')); e2=evaluate(v,None,X.astype('>f4')); print([np.array_equal(a_,b_) for a_,b_ in zip(e1,e2)],e2.total.dtype)
e1=evaluate(v,None,X.astype('f2')); e2=evaluate(v,None,X.astype('>f2')); print([np.array_equal(a_,b_) for a_,b_ in zip(e1,e2)],e2.total.dtype)
