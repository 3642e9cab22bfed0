"use strict";
// The OPC UA server that the tests talk to. Its settings are a JSON object in the
// first argument. It tells "ready" on stdout when it listens, and takes commands on
// stdin, one JSON object a line, each answered by a line on stdout that begins with "answer ".
const cfg = JSON.parse(process.argv[2]);
if (cfg.clockOffset) { // the whole process believes in another time
  const True = Date;
  globalThis.Date = class extends True {
    constructor(...args) { if (args.length === 0) super(True.now() + cfg.clockOffset); else super(...args); }
    static now() { return True.now() + cfg.clockOffset; }
  };
}
const { OPCUAServer } = require("node-opcua-server");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { resolveNodeId } = require("node-opcua-nodeid");
const { Variant, DataType, VariantArrayType } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");
const { SecurityPolicy } = require("node-opcua-secure-channel");
const { MessageSecurityMode } = require("node-opcua-service-secure-channel");
const { nodesets } = require("node-opcua-nodesets");
const path = require("path");
const readline = require("readline");

const scalars = {
  Boolean: true, SByte: -128, Byte: 255, Int16: -32768, UInt16: 65535, Int32: -2147483648, UInt32: 4294967295,
  Int64: [0x7fffffff, 0xffffffff], UInt64: [0xffffffff, 0xffffffff], Float: 1.5, Double: 0.1, String: "grün",
  DateTime: new Date("2026-11-27T14:03:00.123Z"), Guid: "72962b91-fa75-4ae6-8d28-b404dc7daf63",
  ByteString: Buffer.from([0, 1, 254, 255]), LocalizedText: { text: "Druck", locale: "de" },
  QualifiedName: { name: "Temp", namespaceIndex: 2 }, NodeId: resolveNodeId("ns=2;s=Temp"), StatusCode: StatusCodes.BadNodeIdUnknown, XmlElement: "<a/>",
};

// rank tells of an array's dimensions.
function rank(value, extra) {
  if (!extra) return {};
  if (extra.dimensions) return { valueRank: extra.dimensions.length, arrayDimensions: extra.dimensions };
  return { valueRank: 1, arrayDimensions: [value.length] };
}

// addStructures adds variables of the types in types.xml.
function addStructures(space, ns, line) {
  const types = space.getNamespaceIndex("urn:plant:types");
  const make = (type, fields) => space.constructExtensionObject(space.findDataType(type, types), fields);
  const tree = (value, depth) => make("Tree", { value, children: depth ? [tree(2 * value, depth - 1), tree(2 * value + 1, depth - 1)] : [] });
  const motor = {
    name: "M1 \"grün\"", position: { x: 1.5, y: -2 }, trail: [{ x: 1, y: 2 }, { x: 3, y: 4 }], speeds: [0.5, 1.5], when: new Date("2026-11-27T14:03:00.123Z"),
    state: 3, any: new Variant({ dataType: DataType.ExtensionObject, value: make("Point", { x: 7, y: 8 }) }),
    choice: { text: "second" }, reading: { name: "r", value: 0.25, level: 9 }, big: [0x00200000, 1], raw: Buffer.from([0, 255]), none: null,
    code: StatusCodes.BadNodeIdUnknown, node: resolveNodeId("ns=2;s=Temp"),
  };
  const values = {
    Point: make("Point", { x: 1, y: 2.5 }), Reading: make("Reading", { name: "r", note: { text: "hot", locale: "en" }, level: 65535 }),
    Choice: make("Choice", { place: { x: 1, y: 2 } }), Tree: tree(1, 2), Motor: make("Motor", motor), MotorPlus: make("MotorPlus", { ...motor, extra: -5 }),
  };
  for (const [name, value] of Object.entries(values)) {
    ns.addVariable({
      componentOf: line, browseName: name, nodeId: "s=" + name, dataType: space.findDataType(name, types), minimumSamplingInterval: 10,
      value: { dataType: DataType.ExtensionObject, value },
    });
  }
  ns.addVariable({
    componentOf: line, browseName: "Points", nodeId: "s=Points", dataType: space.findDataType("Point", types), minimumSamplingInterval: 10, valueRank: 1, arrayDimensions: [2],
    value: { dataType: DataType.ExtensionObject, arrayType: VariantArrayType.Array, value: [make("Point", { x: 1, y: 2 }), make("Point", { x: 3, y: 4 })] },
  });
}

async function main() {
  const pki = (name) => new OPCUACertificateManager({ automaticallyAcceptUnknownCertificate: true, rootFolder: path.join(cfg.dir, name) });
  const certs = pki("pki"), users = pki("users");
  await certs.initialize();
  await users.initialize();
  const server = new OPCUAServer({
    nodeset_filename: cfg.structures ? [nodesets.standard, path.join(__dirname, "types.xml")] : undefined,
    port: cfg.port, hostname: cfg.hostname || "127.0.0.1",
    serverCertificateManager: certs, userCertificateManager: users,
    certificateFile: cfg.cert, privateKeyFile: cfg.key,
    serverInfo: { applicationUri: "urn:test:server" },
    securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep, SecurityPolicy.Aes256_Sha256_RsaPss],
    securityModes: [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
    allowAnonymous: true,
    userManager: { isValidUser: (name, password) => name === "edge" && password === "secret" },
    defaultSecureTokenLifetime: cfg.tokenLifetime || 600000,
    serverCapabilities: {
      maxSessions: 200, maxMonitoredItems: 200000, maxMonitoredItemsPerSubscription: 100000, maxMonitoredItemsQueueSize: 10000,
      operationLimits: { maxNodesPerRead: cfg.maxNodes || 1000, maxMonitoredItemsPerCall: cfg.maxNodes || 1000, maxNodesPerBrowse: 100 },
    },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  for (const uri of cfg.namespaces || []) space.registerNamespace(uri); // before ours: it shifts its index
  const ns = space.registerNamespace("urn:plant:line1");
  const line = ns.addFolder(space.rootFolder.objects, { browseName: "Line" });
  const variables = new Map();
  const add = (name, dataType, value, extra) => {
    const variable = ns.addVariable({
      componentOf: line, browseName: name, nodeId: "s=" + name, dataType, minimumSamplingInterval: 10,
      value: { dataType: DataType[dataType], arrayType: VariantArrayType.Scalar, value, ...(extra || {}) }, ...rank(value, extra),
    });
    variables.set(name, { variable, dataType: DataType[dataType] });
    return variable;
  };
  const set = (name, value, at) => {
    const { variable, dataType } = variables.get(name);
    variable.setValueFromSource(new Variant({ dataType, value }), StatusCodes.Good, at || new Date());
  };
  add("Temp", "Double", 20);
  add("Press", "Float", 1.5);
  add("Setpoint", "Double", 0);
  add("Level", "UInt16", 7);
  for (const [type, value] of Object.entries(scalars)) {
    add("Scalar" + type, type, value);
    add("Array" + type, type, [value, value], { arrayType: VariantArrayType.Array });
  }
  const states = ns.addEnumerationType({ browseName: "States", enumeration: [{ displayName: "Off", value: 0 }, { displayName: "Running", value: 2 }] });
  ns.addVariable({
    componentOf: line, browseName: "State", nodeId: "s=State", dataType: states.nodeId, minimumSamplingInterval: 10,
    value: { dataType: DataType.Int32, value: 2 },
  });
  ns.addVariable({
    componentOf: line, browseName: "States", nodeId: "s=States", dataType: states.nodeId, minimumSamplingInterval: 10, valueRank: 1, arrayDimensions: [3],
    value: { dataType: DataType.Int32, arrayType: VariantArrayType.Array, value: new Int32Array([0, 2, 7]) },
  });
  add("Series", "UInt64", [[0, 1], [0x00200000, 1], [0xffffffff, 0xffffffff]], { arrayType: VariantArrayType.Array });
  add("Matrix", "Double", new Float64Array([1, 2.5, 3, 4, 5, 6]), { arrayType: VariantArrayType.Matrix, dimensions: [2, 3] });
  add("Empty", "Double", new Float64Array(0), { arrayType: VariantArrayType.Array });
  for (let i = 0; i < (cfg.nodes || 0); i++) add("N" + i, "Int32", i);
  if (cfg.structures) addStructures(space, ns, line);
  if (cfg.loop) { // two folders that have each other, and one that has itself
    const loop = ns.addFolder(line, { browseName: "Loop" });
    loop.addReference({ referenceType: "Organizes", nodeId: line });
    loop.addReference({ referenceType: "Organizes", nodeId: loop });
  }
  let count = 0;
  add("Count", "UInt32", 0);
  if (cfg.history) space.installHistoricalDataNode(variables.get("Count").variable, { maxOnlineValues: 10000 });
  // Every count is sampled, however late this process runs: an item's timer of at most half of
  // countEvery is due before this one, and samples in an immediate, which is queued before ours.
  const next = () => setTimeout(() => setImmediate(() => {
    set("Count", ++count);
    next();
  }), cfg.countEvery);
  if (cfg.countEvery) next();
  if (cfg.changeEvery) {
    let round = 0;
    setInterval(() => {
      round++;
      for (let i = 0; i < cfg.nodes; i++) set("N" + i, i + round);
    }, cfg.changeEvery);
  }
  await server.start();

  const commands = {
    set: (c) => { set(c.node, c.value); return {}; },
    get: (c) => { const v = variables.get(c.node).variable.readValue().value; return { value: v.value, type: DataType[v.dataType] }; },
    bad: (c) => { variables.get(c.node).variable.setValueFromSource(new Variant({ dataType: DataType.Double, value: 0 }), StatusCodes[c.status]); return {}; },
    count: () => ({ value: count }),
    deleteSessions: () => {
      const all = Object.values(server.engine._sessions || {});
      for (const s of all) server.engine.closeSession(s.authenticationToken, true, "Forcing");
      return { value: all.length };
    },
    deleteSubscriptions: () => {
      let n = 0;
      for (const s of Object.values(server.engine._sessions || {})) {
        for (const id of [...s.publishEngine.subscriptions.map((x) => x.id)]) { s.deleteSubscription(id); n++; }
      }
      return { value: n };
    },
    exit: async () => { await server.shutdown(10); process.exit(0); },
  };
  readline.createInterface({ input: process.stdin }).on("line", async (text) => {
    const c = JSON.parse(text);
    let answer;
    try { answer = await commands[c.cmd](c); } catch (err) { answer = { error: String(err) }; }
    process.stdout.write("answer " + JSON.stringify(answer) + "\n");
  }).on("close", () => process.exit(0));
  process.stdout.write("ready\n");
}

main().catch((err) => { process.stderr.write(err.stack + "\n"); process.exit(1); });
