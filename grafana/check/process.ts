// Grafana's packages ask for Node's `process`.
(globalThis as any).process ??= { env: { NODE_ENV: "production" } };
