"use strict";
// The S7 server that the tests talk to: snap7's, a library in C++. Its settings are a
// JSON object in the first argument: host, port, pdu, clients, blocks (a data block's
// number and its bytes in hexadecimal) and areas (inputs, outputs, flags, timers,
// counters, likewise). It tells "ready" on stdout when it listens, and takes commands on
// stdin, one JSON object a line, each answered by a line on stdout that begins with "answer ".
const snap7 = require("node-snap7");
const readline = require("readline");

const cfg = JSON.parse(process.argv[2]);
const server = new snap7.S7Server();

const areas = { inputs: server.srvAreaPE, outputs: server.srvAreaPA, flags: server.srvAreaMK, timers: server.srvAreaTM, counters: server.srvAreaCT };
const bytes = (hex) => Buffer.from(hex, "hex");
const must = (ok, what) => {
  if (!ok) {
    console.error(what + ": " + server.ErrorText(server.LastError()));
    process.exit(1);
  }
};

must(server.SetParam(server.LocalPort, cfg.port), "port");
if (cfg.pdu) must(server.SetParam(server.PDURequest, cfg.pdu), "pdu");
if (cfg.clients) must(server.SetParam(server.MaxClients, cfg.clients), "clients");
for (const [name, code] of Object.entries(areas)) must(server.RegisterArea(code, bytes((cfg.areas || {})[name] || "00".repeat(64))), name);
for (const [n, hex] of Object.entries(cfg.blocks || {})) must(server.RegisterArea(server.srvAreaDB, Number(n), bytes(hex)), "DB" + n);
server.SetEventMask(0);
must(server.StartTo(cfg.host || "127.0.0.1"), "start");
console.log("ready");

const commands = {
  get: (c) => (c.area ? server.GetArea(areas[c.area]) : server.GetArea(server.srvAreaDB, c.db)).toString("hex"),
  set: (c) => (c.area ? server.SetArea(areas[c.area], bytes(c.hex)) : server.SetArea(server.srvAreaDB, c.db, bytes(c.hex))),
  load: (c) => server.RegisterArea(server.srvAreaDB, c.db, bytes(c.hex)),
  remove: (c) => server.UnregisterArea(server.srvAreaDB, c.db),
  cpu: (c) => server.SetCpuStatus(c.run ? server.S7CpuStatusRun : server.S7CpuStatusStop),
  clients: () => server.ClientsCount(),
};
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const c = JSON.parse(line);
  console.log("answer " + JSON.stringify(commands[c.do](c)));
}).on("close", () => process.exit(0));
