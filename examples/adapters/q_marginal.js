// An adapter in JavaScript: q_step and q_marginal, 13.26 and 13.28. No packages.
//
//     python -m refvdm.conformance run --command "node examples/adapters/q_marginal.js"
//
// What to try next: break a formula, and see what the report calls it.
const array = (data, shape) => ({ dtype: "float64", shape, data });

const operations = {
  q_step({ x_prev, betas, t }) {
    const D = x_prev.shape[1], beta = t.data.map((i) => betas.data[i - 1]);
    const mean = x_prev.data.map((x, k) => Math.sqrt(1 - beta[Math.floor(k / D)]) * x);
    return { mean: array(mean, x_prev.shape), var: array(beta, t.shape) };
  },
  q_marginal({ x_0, betas, t }) {
    const D = x_0.shape[1];
    const alpha_bar = t.data.map((i) => betas.data.slice(0, i).reduce((p, b) => p * (1 - b), 1));
    const mean = x_0.data.map((x, k) => Math.sqrt(alpha_bar[Math.floor(k / D)]) * x);
    return { mean: array(mean, x_0.shape), var: array(alpha_bar.map((a) => 1 - a), t.shape) };
  },
};

require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, operation, inputs } = JSON.parse(line);
  const reply = operation === "hello"
    ? { operations: Object.keys(operations), dtype: "float64" }
    : { outputs: operations[operation](inputs) };
  process.stdout.write(JSON.stringify({ id, ...reply }) + "\n");
});
