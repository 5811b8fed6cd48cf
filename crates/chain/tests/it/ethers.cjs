// Signs typed data as a wallet on ethers does. Takes [{typed, key}] on stdin and the folder of node_modules as its argument;
// gives [{digest, signature, short}] on stdout, the last in the 64 bytes of ERC-2098.
'use strict';
const { ethers } = require(require.resolve('ethers', { paths: [process.argv[2]] }));

async function sign({ typed, key }) {
  const { EIP712Domain, ...types } = typed.types;
  const encoder = ethers.TypedDataEncoder.from(types);
  if (encoder.primaryType !== typed.primaryType) throw new Error(`${encoder.primaryType} is not ${typed.primaryType}`);
  const wallet = new ethers.Wallet(key);
  const signature = await wallet.signTypedData(typed.domain, types, typed.message);
  return {
    digest: ethers.TypedDataEncoder.hash(typed.domain, types, typed.message),
    signature,
    short: ethers.Signature.from(signature).compactSerialized,
  };
}

async function main() {
  const asked = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
  process.stdout.write(JSON.stringify(await Promise.all(asked.map(sign))));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
