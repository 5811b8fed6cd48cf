// Signs typed data as a wallet on ethers does. Takes [{typed, key}] on stdin and the folder of node_modules as its argument;
// gives [{digest, signature}] on stdout.
'use strict';
const { ethers } = require(require.resolve('ethers', { paths: [process.argv[2]] }));

async function sign({ typed, key }) {
  const { EIP712Domain, ...types } = typed.types;
  const encoder = ethers.TypedDataEncoder.from(types);
  if (encoder.primaryType !== typed.primaryType) throw new Error(`${encoder.primaryType} is not ${typed.primaryType}`);
  const wallet = new ethers.Wallet(key);
  return {
    digest: ethers.TypedDataEncoder.hash(typed.domain, types, typed.message),
    signature: await wallet.signTypedData(typed.domain, types, typed.message),
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
