// An OTLP receiver that others wrote: says where it listens, then what it understood, a JSON line for each request.
// It takes no compressed requests, so those are unpacked in front of it. It ends with its standard input.
import { createServer, request } from "node:http";
import { createGunzip } from "node:zlib";

import otlp from "@elastic/mockotlpserver";

const ADDRESS = "127.0.0.1";

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const receiver = new otlp.MockOtlpServer({
  logLevel: "error",
  services: ["http"],
  httpHostname: ADDRESS,
  httpPort: 0,
  onTrace: (trace) => tell({ traces: otlp.normalizeTrace(trace) }),
  onMetrics: (metrics) => tell({ metrics: otlp.normalizeMetrics(metrics) }),
});

function unpacked(coming, answer) {
  const { "content-encoding": encoding, "content-length": _, ...headers } = coming.headers;
  const onward = request(new URL(coming.url, receiver.httpUrl), { method: coming.method, headers }, (response) => {
    answer.writeHead(response.statusCode, response.headers);
    response.pipe(answer);
  });
  (encoding === "gzip" ? coming.pipe(createGunzip()) : coming).pipe(onward);
}

await receiver.start();
const front = createServer(unpacked);
front.listen(0, ADDRESS, () => tell({ url: `http://${ADDRESS}:${front.address().port}` }));
process.stdin.resume().on("end", () => process.exit(0));
