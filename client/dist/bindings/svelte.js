function i(e,t,n){return{subscribe(r){return r(void 0),e.subscribe(t,r,n).off}}}function s(e){return{subscribe(t){return t(e.state),e.on("state",n=>t(n.state))}}}export{i as channel,s as state};
