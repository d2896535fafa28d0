// A second stack goes through everything an operator's client may do: CONFIG (JSON) -> one JSON line a step on stdout.
// {"need": WORD} asks whoever runs it for something, and waits for a line on standard input.
"use strict";
const assert = require("assert");
const path = require("path");
const readline = require("readline");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { NumericRange } = require("node-opcua-numeric-range");
const {
  OPCUAClient, MessageSecurityMode, SecurityPolicy, AttributeIds, DataType, Variant, VariantArrayType, TimestampsToReturn, MonitoringMode,
  UserTokenType, makeBrowsePath, BrowseDirection, DataChangeFilter, DataChangeTrigger, DeadbandType, StatusCodes,
} = require("node-opcua-client");
const {
  BrowseNextRequest, CancelRequest, SetTriggeringRequest, RepublishRequest, TransferSubscriptionsRequest, ModifyMonitoredItemsRequest,
  HistoryReadRequest, ReadRawModifiedDetails, ReadAtTimeDetails, ReadProcessedDetails, ReadRequest, BrowseRequest, RegisterNodesRequest,
  SetMonitoringModeRequest, DeleteMonitoredItemsRequest, ModifySubscriptionRequest, SetPublishingModeRequest, DeleteSubscriptionsRequest,
  FindServersOnNetworkRequest,
} = require("node-opcua-types");

const config = JSON.parse(process.argv[2]);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let count = 0;

function say(message) { process.stdout.write(JSON.stringify(message) + "\n"); }
async function need(word) { say({ need: word }); return (await lines.next()).value; }
async function step(name, work) {
  count += 1;
  try {
    const note = await work();
    say({ step: count, name, ok: true, note: note === undefined ? "" : String(note) });
  } catch (error) {
    say({ step: count, name, ok: false, note: String((error && error.stack) || error).split("\n    at ").slice(0, 2).join(" at ") });
  }
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function until(holds, what) {
  for (let i = 0; i < 600; i += 1) { if (holds()) return; await sleep(50); }
  throw new Error(`never: ${what}`);
}
const ours = (where) => `ns=2;s=${where}`;
const value = (nodeId, more) => ({ nodeId, attributeId: AttributeIds.Value, ...more });

function made(policy, mode, files = config.client) {
  return OPCUAClient.create({
    applicationUri: config.uri, applicationName: "script",
    securityMode: mode, securityPolicy: policy, certificateFile: files[0], privateKeyFile: files[1],
    clientCertificateManager: new OPCUACertificateManager({
      rootFolder: path.join(config.folder, "node-opcua"), automaticallyAcceptUnknownCertificate: true,
    }),
    endpointMustExist: false, keepSessionAlive: false, requestedSessionTimeout: 60000,
    connectionStrategy: { maxRetry: config.retries || 0, initialDelay: 100, maxDelay: 500 },
  });
}
const sealed = () => made(SecurityPolicy.Basic256Sha256, MessageSecurityMode.SignAndEncrypt);
const someone = (name) => ({ type: UserTokenType.UserName, userName: name, password: config.passwords[name] });
async function refused(work) {
  try { await work(); } catch (error) { return String(error.message); }
  throw new Error("it was not refused");
}

async function discovery() {
  const client = OPCUAClient.create({ endpointMustExist: false, connectionStrategy: { maxRetry: 0 } });
  await client.connect(config.url);
  let endpoints = [];
  await step("GetEndpoints tells six endpoints", async () => {
    endpoints = await client.getEndpoints();
    assert.strictEqual(endpoints.length, 6);
  });
  await step("none of them is without security, none of an old policy", async () => {
    for (const one of endpoints) {
      assert.notStrictEqual(one.securityMode, MessageSecurityMode.None);
      assert.ok(/#(Basic256Sha256|Aes128_Sha256_RsaOaep|Aes256_Sha256_RsaPss)$/.test(one.securityPolicyUri), one.securityPolicyUri);
    }
  });
  await step("each offers a way in without a name and one with a password", async () => {
    for (const one of endpoints) {
      const kinds = one.userIdentityTokens.map((token) => token.tokenType).sort();
      assert.deepStrictEqual(kinds, [UserTokenType.Anonymous, UserTokenType.UserName]);
    }
  });
  await step("SignAndEncrypt is of a higher level than Sign", async () => {
    const levels = (mode) => endpoints.filter((one) => one.securityMode === mode).map((one) => one.securityLevel);
    assert.ok(Math.min(...levels(MessageSecurityMode.SignAndEncrypt)) > Math.max(...levels(MessageSecurityMode.Sign)));
  });
  await step("FindServers tells this server", async () => {
    const servers = await client.findServers();
    assert.strictEqual(servers.length, 1);
    assert.ok(servers[0].applicationUri.startsWith("urn:lockstep:server:"));
  });
  await step("without security there is no session", async () => {
    await refused(() => client.createSession());
  });
  await client.disconnect();
}

async function security() {
  const policies = [SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep, SecurityPolicy.Aes256_Sha256_RsaPss];
  for (const policy of policies) {
    for (const mode of [MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt]) {
      await step(`a session over ${policy.split("#")[1]} ${MessageSecurityMode[mode]} with a password`, async () => {
        const client = made(policy, mode);
        await client.connect(config.url);
        const session = await client.createSession(someone("otto"));
        assert.ok((await session.read(value("i=2259"))).statusCode.isGood());
        await session.close();
        await client.disconnect();
      });
    }
  }
  await step("Basic256 is refused", async () => {
    const client = made(SecurityPolicy.Basic256, MessageSecurityMode.SignAndEncrypt);
    await refused(() => client.connect(config.url));
    await client.disconnect();
  });
  await step("a certificate that is not trusted is refused", async () => {
    const client = made(SecurityPolicy.Basic256Sha256, MessageSecurityMode.SignAndEncrypt, config.stranger);
    await refused(async () => { await client.connect(config.url); await client.createSession(); });
    await client.disconnect();
  });
  await step("a wrong password is refused", async () => {
    const client = sealed();
    await client.connect(config.url);
    await refused(() => client.createSession({ type: UserTokenType.UserName, userName: "anna", password: "wrong-wrong" }));
    await client.disconnect();
  });
  await step("a user called admin is nobody here", async () => {
    const client = sealed();
    await client.connect(config.url);
    await refused(() => client.createSession({ type: UserTokenType.UserName, userName: "admin", password: "admin" }));
    await client.disconnect();
  });
}

async function browsing(session) {
  const from = (nodeId, more) => ({
    nodeId, browseDirection: BrowseDirection.Forward, referenceTypeId: "i=33", includeSubtypes: true,
    nodeClassMask: 0, resultMask: 63, ...more,
  });
  let whole = [];
  await step("Browse the Objects folder", async () => {
    whole = (await session.browse(from("i=85"))).references.map((one) => one.nodeId.toString());
    assert.ok(whole.includes("ns=0;i=2253") && whole.includes(ours("factory")));
  });
  const parts = [];
  let point = null;
  await step("Browse with at most two references leaves a continuation point", async () => {
    const request = new BrowseRequest({ requestedMaxReferencesPerNode: 2, nodesToBrowse: [from("i=85")] });
    const [result] = (await session.performMessageTransaction(request)).results;
    parts.push(...result.references);
    point = result.continuationPoint;
    assert.ok(result.references.length === 2 && point);
  });
  await step("BrowseNext until its end brings all the others, in order", async () => {
    while (point && point.length) {
      const request = new BrowseNextRequest({ continuationPoints: [point], releaseContinuationPoints: false });
      const [result] = (await session.performMessageTransaction(request)).results;
      assert.ok(result.references.length <= 2);
      parts.push(...result.references);
      point = result.continuationPoint;
    }
    assert.deepStrictEqual(parts.map((one) => one.nodeId.toString()), whole);
  });
  await step("five continuation points at once, released together", async () => {
    const five = Array.from({ length: 5 }, () => from("i=85"));
    const request = new BrowseRequest({ requestedMaxReferencesPerNode: 1, nodesToBrowse: five });
    const { results } = await session.performMessageTransaction(request);
    const points = results.map((one) => one.continuationPoint);
    assert.ok(points.every((one) => one && one.length));
    const release = new BrowseNextRequest({ continuationPoints: points, releaseContinuationPoints: true });
    assert.ok((await session.performMessageTransaction(release)).responseHeader.serviceResult.isGood());
    const again = new BrowseNextRequest({ continuationPoints: [points[0]], releaseContinuationPoints: false });
    const [result] = (await session.performMessageTransaction(again)).results;
    assert.strictEqual(result.statusCode, StatusCodes.BadContinuationPointInvalid);
  });
  await step("Browse backwards finds the parent", async () => {
    const result = await session.browse(from(ours("belt-1/status"), { browseDirection: BrowseDirection.Inverse }));
    assert.deepStrictEqual(result.references.map((one) => one.nodeId.toString()), [ours("belt-1")]);
  });
  await step("Browse for variables alone", async () => {
    const result = await session.browse(from(ours("belt-1/status"), { nodeClassMask: 2 }));
    assert.ok(result.references.length > 2 && result.references.every((one) => one.nodeClass === 2));
  });
  await step("Browse a node that is not there", async () => {
    const result = await session.browse(from(ours("belt-9")));
    assert.strictEqual(result.statusCode, StatusCodes.BadNodeIdUnknown);
  });
  await step("Browse by a reference type that is none", async () => {
    const result = await session.browse(from("i=85", { referenceTypeId: "i=85" }));
    assert.strictEqual(result.statusCode, StatusCodes.BadReferenceTypeIdInvalid);
  });
  await step("TranslateBrowsePath from Objects to a Signal", async () => {
    const result = await session.translateBrowsePath(makeBrowsePath(ours("belt-1"), "/2:Status/2:speed"));
    assert.strictEqual(result.targets[0].targetId.toString(), ours("belt-1/status/speed"));
  });
  await step("TranslateBrowsePath to nowhere", async () => {
    const result = await session.translateBrowsePath(makeBrowsePath(ours("belt-1"), "/2:nothing"));
    assert.strictEqual(result.statusCode, StatusCodes.BadNoMatch);
  });
  await step("RegisterNodes and UnregisterNodes", async () => {
    const registered = await session.registerNodes([ours("belt-1/status/speed")]);
    assert.ok((await session.read(value(registered[0]))).statusCode.isGood());
    await session.unregisterNodes(registered);
  });
  await step("RegisterNodes of nothing is refused", async () => {
    assert.match(await refused(() => session.performMessageTransaction(new RegisterNodesRequest({ nodesToRegister: [] }))), /NothingToDo/);
  });
}

async function reading(session) {
  const read = async (nodesToRead, more) =>
    (await session.performMessageTransaction(new ReadRequest({ nodesToRead, timestampsToReturn: TimestampsToReturn.Both, ...more }))).results;
  await step("Read a value with both times", async () => {
    const [one] = await read([value(ours("belt-1/status/speed"))]);
    assert.ok(one.statusCode.isGood() && one.sourceTimestamp && one.serverTimestamp);
    assert.strictEqual(one.value.value, 250);
  });
  await step("Read with the source's time alone, and with none", async () => {
    const [source] = await read([value(ours("belt-1/status/speed"))], { timestampsToReturn: TimestampsToReturn.Source });
    assert.ok(source.sourceTimestamp && !source.serverTimestamp);
    const [none] = await read([value(ours("belt-1/status/speed"))], { timestampsToReturn: TimestampsToReturn.Neither });
    assert.ok(!none.sourceTimestamp && !none.serverTimestamp && none.value.value === 250);
  });
  await step("Read with a negative MaxAge is refused", async () => {
    assert.match(await refused(() => read([value("i=2258")], { maxAge: -1 })), /MaxAge/);
  });
  await step("Read part of an array by IndexRange", async () => {
    const [whole] = await read([value("i=2255")]);
    const [part] = await read([value("i=2255", { indexRange: new NumericRange("1:2") })]);
    assert.deepStrictEqual(Array.from(part.value.value), Array.from(whole.value.value).slice(1, 3));
  });
  await step("Read beyond an array's end", async () => {
    const [part] = await read([value("i=2255", { indexRange: new NumericRange("90:91") })]);
    assert.strictEqual(part.statusCode, StatusCodes.BadIndexRangeNoData);
  });
  await step("Read every attribute of a Variable", async () => {
    const wanted = [1, 2, 3, 4, 5, 13, 14, 15, 17, 18, 19, 20].map((attributeId) => ({ nodeId: ours("belt-1/status/speed"), attributeId }));
    for (const one of await read(wanted)) assert.ok(one.statusCode.isGood(), one.toString());
  });
  await step("Read an attribute that a Variable has not", async () => {
    const [one] = await read([{ nodeId: ours("belt-1/status/speed"), attributeId: AttributeIds.Executable }]);
    assert.strictEqual(one.statusCode, StatusCodes.BadAttributeIdInvalid);
  });
  await step("Read 2,000 values at once, and not one more", async () => {
    const many = (n) => Array.from({ length: n }, () => value("i=2258"));
    assert.strictEqual((await read(many(2000))).length, 2000);
    assert.match(await refused(() => read(many(2001))), /TooManyOperations/);
  });
  await step("ServerStatus runs and says since when", async () => {
    const [one] = await read([value("i=2256")]);
    assert.strictEqual(one.value.value.state, 0);
    assert.ok(one.value.value.startTime <= one.value.value.currentTime);
  });
  await step("the limits are told in ServerCapabilities", async () => {
    for (const number of [11705, 11712, 11714, 11710, 2735, 24095, 24096]) {
      const [one] = await read([value(`i=${number}`)]);
      assert.ok(one.statusCode.isGood() && one.value.value > 0, `i=${number}`);
    }
  });
}

async function writing(client, observer) {
  const speed = ours(config.setpoint);
  await step("an observer may not write a setpoint", async () => {
    const status = await observer.write({ ...value(speed), value: { value: { dataType: DataType.Double, value: 100 } } });
    assert.strictEqual(status, StatusCodes.BadUserAccessDenied);
  });
  const session = await client.createSession(someone("otto"));
  const write = (given, more) => session.write({ ...value(speed), value: { value: given }, ...more });
  await step("an operator writes a setpoint", async () => {
    assert.ok((await write({ dataType: DataType.Double, value: 120 })).isGood());
  });
  await step("beyond its range it is refused", async () => {
    assert.strictEqual(await write({ dataType: DataType.Double, value: 1e6 }), StatusCodes.BadOutOfRange);
  });
  await step("what is no number is refused", async () => {
    assert.ok(!(await write({ dataType: DataType.Double, value: NaN })).isGood());
  });
  await step("another type is refused", async () => {
    assert.strictEqual(await write({ dataType: DataType.String, value: "fast" }), StatusCodes.BadTypeMismatch);
  });
  await step("what a machine measures cannot be written", async () => {
    const status = await session.write({ ...value(ours("belt-1/status/speed")), value: { value: { dataType: DataType.Double, value: 1 } } });
    assert.strictEqual(status, StatusCodes.BadNotWritable);
  });
  return session;
}

async function calling(session, observer) {
  const call = (who, methodId, inputArguments, objectId = "belt-1") =>
    who.call({ objectId: ours(objectId), methodId: ours(methodId), inputArguments });
  await step("an operator starts a machine", async () => {
    const result = await call(session, "belt-1/Start", []);
    assert.ok(result.statusCode.isGood() && result.outputArguments[0].value === true);
  });
  await step("an observer may not", async () => {
    assert.strictEqual((await call(observer, "belt-1/Start", [])).statusCode, StatusCodes.BadUserAccessDenied);
  });
  await step("a refusal has a status and says why", async () => {
    await need("refuse");
    const result = await call(session, "belt-1/Start", []);
    await need("agree");
    assert.ok(!result.statusCode.isGood());
    const refusal = await session.read(value(ours("belt-1/LastRefusal")));
    assert.match(String(refusal.value.value), /nothing to start/);
  });
  await step("too few arguments, too many, and of the wrong type", async () => {
    const program = (...given) => call(session, "printer-1/LoadJob", given, "printer-1");
    assert.strictEqual((await program()).statusCode, StatusCodes.BadArgumentsMissing);
    const text = { dataType: DataType.String, value: "a" };
    assert.strictEqual((await program(text, text)).statusCode, StatusCodes.BadTooManyArguments);
    const result = await program({ dataType: DataType.UInt32, value: 5 });
    assert.strictEqual(result.statusCode, StatusCodes.BadInvalidArgument);
    assert.strictEqual(result.inputArgumentResults[0], StatusCodes.BadTypeMismatch);
  });
  await step("a method of another object is not found", async () => {
    assert.strictEqual((await call(session, "printer-1/Start", [])).statusCode, StatusCodes.BadMethodInvalid);
  });
  await step("UserExecutable tells who may", async () => {
    const may = async (who) => (await who.read({ nodeId: ours("belt-1/Stop"), attributeId: AttributeIds.UserExecutable })).value.value;
    assert.deepStrictEqual([await may(session), await may(observer)], [true, false]);
  });
}

async function subscribing(session) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 100, requestedLifetimeCount: 600, requestedMaxKeepAliveCount: 10, maxNotificationsPerPublish: 0,
    publishingEnabled: true, priority: 1,
  });
  const seen = {};
  const monitor = async (name, node, more = {}, filter = null, mode = MonitoringMode.Reporting) => {
    const item = await subscription.monitor(value(node), { samplingInterval: 0, queueSize: 10, discardOldest: true, filter, ...more },
      TimestampsToReturn.Both, mode);
    seen[name] = [];
    item.on("changed", (one) => seen[name].push(one));
    return item;
  };
  let plain; let trigger; let triggered;
  await step("a monitored item tells its value at once", async () => {
    plain = await monitor("plain", ours("belt-1/status/parts"));
    await until(() => seen.plain.length >= 1, "a first value");
  });
  await step("and every change", async () => {
    const before = seen.plain.length;
    await need("change");
    await until(() => seen.plain.length > before, "a change");
  });
  await step("an absolute deadband holds small steps back, and reports their sum", async () => {
    const filter = new DataChangeFilter({ trigger: DataChangeTrigger.StatusValue, deadbandType: DeadbandType.Absolute, deadbandValue: 10 });
    await monitor("banded", ours("belt-1/status/speed"), {}, filter);
    await until(() => seen.banded.length >= 1, "a first value");
    await need("ramp"); // 250 + 4, 8, 12 ... 40
    await until(() => seen.banded.length >= 4, "three reports");
    assert.deepStrictEqual(seen.banded.map((one) => Math.round(one.value.value)), [250, 262, 274, 286]);
  });
  await step("a percent deadband counts by EURange", async () => {
    const filter = new DataChangeFilter({ trigger: DataChangeTrigger.StatusValue, deadbandType: DeadbandType.Percent, deadbandValue: 4 });
    await monitor("percent", ours("belt-1/status/speed"), {}, filter); // 4 % of 500 mm/s: 20
    await until(() => seen.percent.length >= 1, "a first value");
    await need("long ramp");
    await until(() => seen.percent.length >= 3, "two reports");
    const first = seen.percent[0].value.value;
    assert.ok(seen.percent.slice(1).every((one, i) => Math.abs(one.value.value - seen.percent[i].value.value) > 20), first);
  });
  await step("a deadband where there are no numbers is refused", async () => {
    const filter = new DataChangeFilter({ trigger: DataChangeTrigger.StatusValue, deadbandType: DeadbandType.Absolute, deadbandValue: 1 });
    const item = await subscription.monitor(value(ours("printer-1/job/program")), { samplingInterval: 0, queueSize: 1, filter },
      TimestampsToReturn.Both, MonitoringMode.Reporting).catch((error) => ({ statusCode: StatusCodes.Bad, error }));
    assert.ok(!item.statusCode || !item.statusCode.isGood());
  });
  await step("SetTriggering: a sampled item is told when another one changes", async () => {
    trigger = await monitor("trigger", ours("belt-1/status/at_entry"));
    triggered = await monitor("triggered", ours("belt-1/status/at_exit"), { queueSize: 1 }, null, MonitoringMode.Sampling);
    const request = new SetTriggeringRequest({
      subscriptionId: subscription.subscriptionId, triggeringItemId: trigger.monitoredItemId, linksToAdd: [triggered.monitoredItemId],
    });
    const response = await session.performMessageTransaction(request);
    assert.ok(response.addResults[0].isGood());
    await until(() => seen.trigger.length >= 1, "the trigger's first value");
    await need("trigger");
    await until(() => seen.triggered.length >= 1, "the triggered item");
  });
  await step("SetMonitoringMode switches an item off", async () => {
    const request = new SetMonitoringModeRequest({
      subscriptionId: subscription.subscriptionId, monitoringMode: MonitoringMode.Disabled, monitoredItemIds: [trigger.monitoredItemId],
    });
    assert.ok((await session.performMessageTransaction(request)).results[0].isGood());
  });
  await step("ModifyMonitoredItems revises sampling and queue", async () => {
    const request = new ModifyMonitoredItemsRequest({
      subscriptionId: subscription.subscriptionId, timestampsToReturn: TimestampsToReturn.Both,
      itemsToModify: [{ monitoredItemId: plain.monitoredItemId, requestedParameters: { clientHandle: plain.monitoringParameters.clientHandle, samplingInterval: 5000, queueSize: 3, discardOldest: true } }],
    });
    const [result] = (await session.performMessageTransaction(request)).results;
    assert.ok(result.statusCode.isGood() && result.revisedSamplingInterval === 5000 && result.revisedQueueSize === 3);
  });
  await step("GetMonitoredItems tells all items with their handles", async () => {
    const found = await subscription.getMonitoredItems();
    assert.ok(Array.from(found.serverHandles).includes(plain.monitoredItemId));
  });
  await step("ResendData tells every value once more", async () => {
    const before = seen.banded.length;
    const result = await session.call({
      objectId: "i=2253", methodId: "i=12873", inputArguments: [{ dataType: DataType.UInt32, value: subscription.subscriptionId }],
    });
    assert.ok(result.statusCode.isGood());
    await until(() => seen.banded.length > before, "a value that did not change");
  });
  await step("ModifySubscription revises the interval", async () => {
    const request = new ModifySubscriptionRequest({
      subscriptionId: subscription.subscriptionId, requestedPublishingInterval: 200, requestedLifetimeCount: 600, requestedMaxKeepAliveCount: 10,
    });
    assert.strictEqual((await session.performMessageTransaction(request)).revisedPublishingInterval, 200);
  });
  await step("SetPublishingMode off and on", async () => {
    for (const publishingEnabled of [false, true]) {
      const request = new SetPublishingModeRequest({ publishingEnabled, subscriptionIds: [subscription.subscriptionId] });
      assert.ok((await session.performMessageTransaction(request)).results[0].isGood());
    }
  });
  await step("Republish of a message that is not kept", async () => {
    const request = new RepublishRequest({ subscriptionId: subscription.subscriptionId, retransmitSequenceNumber: 4_000_000 });
    assert.match(await refused(() => session.performMessageTransaction(request)), /MessageNotAvailable/);
  });
  await step("Cancel of a request that is not there cancels none", async () => {
    const response = await session.performMessageTransaction(new CancelRequest({ requestHandle: 123456 }));
    assert.strictEqual(response.cancelCount, 0);
  });
  await step("DeleteMonitoredItems", async () => {
    const request = new DeleteMonitoredItemsRequest({
      subscriptionId: subscription.subscriptionId, monitoredItemIds: [triggered.monitoredItemId, 999999],
    });
    const { results } = await session.performMessageTransaction(request);
    assert.ok(results[0].isGood() && results[1] === StatusCodes.BadMonitoredItemIdInvalid);
  });
  await step("another session of the same client and user takes the subscription over", async () => {
    const other = await config.now.createSession(someone("otto"));
    const request = new TransferSubscriptionsRequest({ subscriptionIds: [subscription.subscriptionId], sendInitialValues: true });
    const [result] = (await other.performMessageTransaction(request)).results;
    assert.ok(result.statusCode.isGood(), result.toString());
    const [gone] = (await other.performMessageTransaction(new DeleteSubscriptionsRequest({ subscriptionIds: [subscription.subscriptionId] }))).results;
    assert.ok(gone.isGood());
    await other.close();
  });
}

async function history(session) {
  const [start, end] = config.history.span.map((ms) => new Date(ms));
  const nodesToRead = [{ nodeId: ours(config.history.node) }];
  const ask = async (historyReadDetails, more) => (await session.performMessageTransaction(new HistoryReadRequest({
    historyReadDetails, nodesToRead, timestampsToReturn: TimestampsToReturn.Source, releaseContinuationPoints: false, ...more,
  }))).results[0];
  await step("HistoryRead raw brings what was recorded", async () => {
    const result = await ask(new ReadRawModifiedDetails({ isReadModified: false, startTime: start, endTime: end, numValuesPerNode: 0, returnBounds: false }));
    assert.deepStrictEqual(result.historyData.dataValues.map((one) => one.value.value), config.history.values);
  });
  await step("HistoryRead raw in parts of three", async () => {
    const details = new ReadRawModifiedDetails({ isReadModified: false, startTime: start, endTime: end, numValuesPerNode: 3, returnBounds: false });
    const found = [];
    let continuationPoint = null;
    do {
      const result = await ask(details, { nodesToRead: [{ nodeId: ours(config.history.node), continuationPoint }] });
      found.push(...result.historyData.dataValues.map((one) => one.value.value));
      continuationPoint = result.continuationPoint;
    } while (continuationPoint && continuationPoint.length);
    assert.deepStrictEqual(found, config.history.values);
  });
  await step("HistoryRead at a time", async () => {
    const result = await ask(new ReadAtTimeDetails({ reqTimes: [new Date(+start + 2000)], useSimpleBounds: true }));
    assert.strictEqual(result.historyData.dataValues[0].value.value, config.history.values[2]);
  });
  for (const [name, number, wanted] of config.history.aggregates) {
    await step(`HistoryRead processed: ${name}`, async () => {
      const result = await ask(new ReadProcessedDetails({ startTime: start, endTime: end, processingInterval: 0, aggregateType: [`i=${number}`], aggregateConfiguration: { useServerCapabilitiesDefaults: true } }));
      assert.ok(Math.abs(result.historyData.dataValues[0].value.value - wanted) < 1e-9, result.toString());
    });
  }
}

async function changingUser(session) {
  await step("a session changes its user, and its rights with it", async () => {
    const before = await session.read({ nodeId: ours("belt-1/Stop"), attributeId: AttributeIds.UserExecutable });
    assert.ok((await session.changeUser(someone("olga"))).isGood());
    const after = await session.read({ nodeId: ours("belt-1/Stop"), attributeId: AttributeIds.UserExecutable });
    assert.deepStrictEqual([before.value.value, after.value.value], [true, false]);
    assert.ok((await session.changeUser(someone("otto"))).isGood());
  });
  await step("an engineer sees diagnostics of sessions, an operator does not", async () => {
    const seen = async (name) => {
      await session.changeUser(someone(name));
      return (await session.read(value("i=3707"))).statusCode.isGood();
    };
    assert.deepStrictEqual([await seen("erin"), await seen("otto")], [true, false]);
  });
}

async function restart() {
  config.retries = 100;
  const client = sealed();
  await client.connect(config.url);
  const session = await client.createSession(someone("otto"));
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 100, requestedLifetimeCount: 600, requestedMaxKeepAliveCount: 5, publishingEnabled: true, priority: 1,
  });
  const seen = [];
  const item = await subscription.monitor(value(ours("belt-1/status/speed")), { samplingInterval: 0, queueSize: 10, discardOldest: true },
    TimestampsToReturn.Both, MonitoringMode.Reporting);
  item.on("changed", (one) => seen.push(one));
  await step("a subscription before the server is killed", async () => until(() => seen.length >= 1, "a first value"));
  await step("the server is killed and comes back; the client finds its way by itself", async () => {
    const lost = new Promise((resolve) => client.once("connection_lost", resolve));
    const back = new Promise((resolve) => client.once("connection_reestablished", resolve));
    await need("kill");
    await lost;
    await back;
  });
  await step("its subscription tells values again", async () => {
    const before = seen.length;
    await until(() => { return seen.length > before || seen.length > 1; }, "a value after the restart");
  });
  await step("nodes have the NodeIds that they had", async () => {
    assert.ok((await session.read(value(ours("belt-1/status/speed")))).statusCode.isGood());
  });
  await session.close();
  await client.disconnect();
}

async function main() {
  await discovery();
  await security();
  const client = sealed();
  await client.connect(config.url);
  config.now = client;
  const observer = await client.createSession();
  await browsing(observer);
  await reading(observer);
  const session = await writing(client, observer);
  await calling(session, observer);
  await subscribing(session);
  await history(observer);
  await changingUser(session);
  await step("sessions are closed", async () => { await session.close(); await observer.close(); });
  await client.disconnect();
  await restart();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
