// Reads variables with node-opcua: URL CERTIFICATE KEY NODEID... -> JSON on stdout.
"use strict";
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const {
  OPCUAClient, MessageSecurityMode, SecurityPolicy, AttributeIds, DataType, makeBrowsePath,
} = require("node-opcua-client");
const path = require("path");

async function property(session, node, name) {
  const found = await session.translateBrowsePath(makeBrowsePath(node, "." + name));
  if (!found.targets || found.targets.length === 0) return null;
  return (await session.read({ nodeId: found.targets[0].targetId, attributeId: AttributeIds.Value })).value.value;
}

async function told(session, node) {
  const value = await session.read({ nodeId: node, attributeId: AttributeIds.Value });
  const unit = await property(session, node, "EngineeringUnits");
  const limits = await property(session, node, "EURange");
  return {
    value: value.value.value,
    type: DataType[value.value.dataType],
    status: value.statusCode.name,
    time: value.sourceTimestamp ? value.sourceTimestamp.toISOString() : null,
    unit: unit ? unit.displayName.text : null,
    unit_id: unit ? unit.unitId : null,
    range: limits ? [limits.low, limits.high] : null,
  };
}

async function main() {
  const [url, certificateFile, privateKeyFile, ...nodes] = process.argv.slice(2);
  const clientCertificateManager = new OPCUACertificateManager({
    rootFolder: path.join(path.dirname(certificateFile), "node-opcua"),
    automaticallyAcceptUnknownCertificate: true,
  });
  const client = OPCUAClient.create({
    securityMode: MessageSecurityMode.SignAndEncrypt,
    securityPolicy: SecurityPolicy.Basic256Sha256,
    certificateFile, privateKeyFile, clientCertificateManager,
    endpointMustExist: false,
    connectionStrategy: { maxRetry: 3 },
  });
  await client.connect(url);
  const session = await client.createSession();
  const result = {};
  for (const node of nodes) result[node] = await told(session, node);
  console.log(JSON.stringify(result));
  await session.close();
  await client.disconnect();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
