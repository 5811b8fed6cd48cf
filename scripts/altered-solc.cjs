// A compiler that stays: for each line {"sources": folder, "artifacts": folder} of its input it builds the contracts that
// tests deploy, without the optimiser, and answers with one line {"error": null or what the compiler said}. A tenth of
// what forge takes, which loads the compiler each time and asks it for much more.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

const modules = path.join(__dirname, '../contracts/node_modules');
process.removeAllListeners('uncaughtException');
const solc = require(path.join(modules, 'solc'));
const wanted = { 'src/Assets.sol': 'Assets', 'src/Berth.sol': 'Berth', 'src/Recourse.sol': 'Recourse', 'src/mocks/PermitToken.sol': 'PermitToken' };
const libraries = new Map();

function library(name) {
  if (!libraries.has(name)) libraries.set(name, { contents: fs.readFileSync(path.join(modules, name), 'utf8') });
  return libraries.get(name);
}

function build(folder, artifacts) {
  const selection = {};
  const sources = {};
  for (const [file, name] of Object.entries(wanted)) {
    sources[file] = { content: fs.readFileSync(path.join(folder, file), 'utf8') };
    selection[file] = { [name]: ['evm.bytecode.object'] };
  }
  const settings = {
    optimizer: { enabled: false }, evmVersion: 'prague', outputSelection: selection,
    metadata: { bytecodeHash: 'none', appendCBOR: false },
  };
  const found = (name) => {
    try {
      return name.startsWith('@') ? library(name) : { contents: fs.readFileSync(path.join(folder, name), 'utf8') };
    } catch {
      return { error: `no such file: ${name}` };
    }
  };
  const built = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings }), { import: found }));
  const errors = (built.errors || []).filter((said) => said.severity === 'error').map((said) => said.formattedMessage);
  if (errors.length > 0) return errors.join('\n');
  for (const [file, name] of Object.entries(wanted)) {
    const target = path.join(artifacts, `${name}.sol`);
    fs.mkdirSync(target, { recursive: true });
    const { object } = built.contracts[file][name].evm.bytecode;
    fs.writeFileSync(path.join(target, `${name}.json`), JSON.stringify({ abi: [], bytecode: { object: `0x${object}` } }));
  }
  return null;
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { sources, artifacts } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify({ error: build(sources, artifacts) })}\n`);
});
