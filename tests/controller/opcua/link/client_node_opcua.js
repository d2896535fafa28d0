// Comes in by each policy and mode, with a password and without, and reads a value: URL CERTIFICATE KEY -> JSON on stdout.
"use strict";
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { OPCUAClient, MessageSecurityMode, SecurityPolicy, AttributeIds, UserTokenType } = require("node-opcua-client");
const path = require("path");

async function main() {
  const [url, certificateFile, privateKeyFile] = process.argv.slice(2);
  const clientCertificateManager = new OPCUACertificateManager({
    rootFolder: path.join(path.dirname(certificateFile), "node-opcua"),
    automaticallyAcceptUnknownCertificate: true,
  });
  const told = [];
  for (const policy of ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]) {
    for (const mode of ["Sign", "SignAndEncrypt"]) {
      const client = OPCUAClient.create({
        applicationUri: "urn:example.org:FreeOpcUa:opcua-asyncio",
        securityMode: MessageSecurityMode[mode], securityPolicy: SecurityPolicy[policy],
        certificateFile, privateKeyFile, clientCertificateManager, connectionStrategy: { maxRetry: 1 },
      });
      await client.connect(url);
      for (const user of ["", "otto"]) {
        const token = { type: UserTokenType.UserName, userName: user, password: user + "-password" };
        const session = await client.createSession(user ? token : undefined);
        const value = await session.read({ nodeId: "i=2258", attributeId: AttributeIds.Value });
        told.push([policy, mode, user, value.value.value]);
        await session.close();
      }
      await client.disconnect();
    }
  }
  console.log(JSON.stringify(told));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
