import warnings, numpy as np, traceback, json
np.seterr(all='ignore')
from refvdm.autodiff import *
from refvdm.vdm import *
from refvdm.vdm.denoiser import *
from refvdm.fit import fit
from refvdm.optim import Adam, EMA
from refvdm.ode import *
from refvdm.flows import *
from refvdm.mhvae import *
from refvdm.nn import MLP
def t(name, f):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        try:
            r=f()
            print(f"!! {name}: NO ERROR -> {str(r)[:150]}", [str(x.message)[:100] for x in w])
        except Exception as e:
            print(f"   {name}: {type(e).__name__}: {str(e)[:260]}")
T,N,D=4,3,2
S=Schedule.linear_gamma(T,-3.,3.)
rng=lambda: np.random.default_rng(0)
X=rng().standard_normal((N,D))
vd=VDM(lambda th,x,t: th*x, S, GaussianDecoder(.3))
th=np.array([.5,.3])
print("--- 1")
t("flow_log_prob grad", lambda: grad(lambda th: np.sum(flow_log_prob(vd,th,X)))(th))
t("flow_sample grad", lambda: grad(lambda th: np.sum(flow_sample(vd,th,(3,2),rng())))(th))
t("flow_sample closure", lambda: grad(lambda th: np.sum(flow_sample(VDM(lambda _,x,t: th*x,S,GaussianDecoder(.3)),None,(3,2),rng())))(th))
t("flow_log_prob closure", lambda: grad(lambda th: np.sum(flow_log_prob(VDM(lambda _,x,t: th*x,S,GaussianDecoder(.3)),None,X)))(th))
t("flow_log_prob base closure", lambda: grad(lambda th: np.sum(flow_log_prob(VDM(lambda _,x,t: .3*x,S,GaussianDecoder(.3)),None,X,base=lambda x: np.sum(x*th,axis=1))))(th))
t("evaluate grad", lambda: grad(lambda th: np.sum(evaluate(vd,th,X).total))(th))
t("fit no theta", lambda: fit(lambda th,r: 1.0, th, rng(), steps=3, optimizer=Adam()))
t("fit other theta", lambda: fit(lambda _,r: float(np.sum(th)), th, rng(), steps=3, optimizer=Adam()))
t("fit stopgrad", lambda: fit(lambda th,r: np.sum(stop_gradient(th)), th, rng(), steps=3, optimizer=Adam()))
t("fit zero times", lambda: fit(lambda th,r: np.sum(th)*0, th, rng(), steps=3, optimizer=Adam(), progress=False).step)
t("fit np array theta tree part", lambda: fit(lambda th,r: np.sum(th['a']), {'a':th,'b':th}, rng(), steps=3, optimizer=Adam(), progress=False).step)
print("--- 2")
bads={'nan':lambda y:np.where(np.arange(y.size).reshape(y.shape)==y.size-1,np.nan,y),'complex':lambda y:y+1e-17j,'int':lambda y:np.ones(y.shape,int),'masked':lambda y:np.ma.array(y,mask=y>0),'f32':lambda y:y.astype(np.float32), 'matrix': lambda y: np.matrix(y) if y.ndim==2 else y+0j}
for k,b in bads.items():
    for when in (None, 1, 2):
        den=lambda th,x,t: b(.5*np.asarray(x)) if when is None or (np.asarray(t)==when).any() else .5*x
        v=VDM(den,S,GaussianDecoder(.3))
        if when is not None and k!='nan': continue
        for nm,f in {'elbo':lambda:v.elbo(None,X,rng()),'est':lambda:v.elbo_estimate(None,X,rng(),t=np.array([2,2,3])),'kl_per_t':lambda:v.kl_per_t(None,X,rng()),'sample':lambda:v.sample(None,(3,2),rng()),'ddim':lambda:ddim_sample(v,None,(3,2),rng()),'ddim clip':lambda:ddim_sample(v,None,(3,2),rng(),clip=(-1,1)),'forms':lambda:elbo_forms(v,None,X,rng()),'cont':lambda:continuous_kl(v,None,X,np.array([-2.,0,1]),rng()) ,'evaluate':lambda:evaluate(v,None,X),'flow_sample':lambda:flow_sample(v,None,(3,2),rng()),'flow_log_prob':lambda:flow_log_prob(v,None,X), 'mhvae':lambda:v.as_mhvae().elbo(None,X,rng()),'step':lambda:v.at(None).step(X,2)}.items():
            if when==1 and nm in('kl_per_t','est','cont','step'): continue
            t(f"denoiser {k} {when} {nm}", f)
