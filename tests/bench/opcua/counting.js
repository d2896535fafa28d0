// Counts notifications with node-opcua's client: URL PKI SECONDS NODEID... -> {value: how often} on stdout.
"use strict";
const path = require("path");
const at = process.env.LOCKSTEP_BENCH_MODULES;
const { OPCUACertificateManager } = require(path.join(at, "node-opcua-certificate-manager"));
const {
  OPCUAClient, MessageSecurityMode, SecurityPolicy, AttributeIds, ClientSubscription, ClientMonitoredItemGroup, TimestampsToReturn,
} = require(path.join(at, "node-opcua-client"));

async function main() {
  const [url, pki, seconds, ...nodes] = process.argv.slice(2);
  const client = OPCUAClient.create({
    securityMode: MessageSecurityMode.SignAndEncrypt, securityPolicy: SecurityPolicy.Basic256Sha256,
    certificateFile: path.join(pki, "client.der"), privateKeyFile: path.join(pki, "client.pem"),
    clientCertificateManager: new OPCUACertificateManager({
      rootFolder: path.join(pki, "node-opcua"), automaticallyAcceptUnknownCertificate: true,
    }),
    endpointMustExist: false, connectionStrategy: { maxRetry: 3 },
  });
  await client.connect(url);
  const session = await client.createSession();
  const subscription = ClientSubscription.create(session, {
    requestedPublishingInterval: 100, requestedLifetimeCount: 3000, requestedMaxKeepAliveCount: 50,
    maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 0,
  });
  const counts = {};
  const group = ClientMonitoredItemGroup.create(
    subscription, nodes.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })),
    { samplingInterval: 0, queueSize: 10, discardOldest: true }, TimestampsToReturn.Both,
  );
  group.on("changed", (_, value) => { counts[value.value.value] = (counts[value.value.value] || 0) + 1; });
  await new Promise((done) => setTimeout(done, 1000 * Number(seconds)));
  console.log(JSON.stringify(counts));
  await session.close(true);
  await client.disconnect();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
