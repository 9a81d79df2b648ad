// The ONNX Runtime side of `versus`: a worker that keeps one network ready for inference.
//
//     node ort_worker.js FILE.onnx CxHxW BATCH THREADS
//
// ORT_NODE is the folder in which onnxruntime-node is installed. The first line of output is
// JSON: how it runs; then for each line "K" of stdin K steps are run and their seconds printed.
"use strict";
const path = require("path");
const readline = require("readline");
const { createRequire } = require("module");

async function main([file, shape, batch, threads]) {
  const ort = createRequire(path.resolve(process.env.ORT_NODE, "none.js"))("onnxruntime-node");
  const count = Number(threads);
  // The main thread computes, too; the others are bound to the processors from the second on.
  const others = Array.from({ length: count - 1 }, (_, i) => String(i + 2)).join(";");
  const session = await ort.InferenceSession.create(file, {
    intraOpNumThreads: count,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    extra: others ? { session: { intra_op_thread_affinities: others } } : {},
  });
  const dims = [Number(batch), ...shape.split("x").map(Number)];
  const values = new Float32Array(dims.reduce((a, b) => a * b));
  for (let i = 0; i < values.length; i++) {
    values[i] = 2 * Math.random() - 1;
  }
  const feeds = { images: new ort.Tensor("float32", values, dims) };
  console.log(JSON.stringify({
    version: `onnxruntime ${ort.env.versions.node}`, how: "all graph optimizations" }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < Number(line); i++) {
      await session.run(feeds);
    }
    console.log(Number(process.hrtime.bigint() - begin) * 1e-9);
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`ort_worker: ${error.message}`);
  process.exit(1);
});
