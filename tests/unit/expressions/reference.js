// Evaluates expressions with the reference implementation. Each input line is a JSON request, each output line its result.
// The first argument is the path of the jsonata package.
const fs = require('fs');
const Module = require('module');
const readline = require('readline');

// Loads the reference with one correction: grouping over an empty array must not push an undefined item into that array,
// which can be the caller's array.
function loadReference(path) {
  const file = require.resolve(path);
  const text = fs.readFileSync(file, 'utf8');
  const pure = text.replace('input.push(undefined);', 'input = [undefined];');
  if (pure === text) throw new Error('The code of the reference has changed. Update the correction in loadReference.');
  const loaded = new Module(file);
  loaded._compile(pure, file);
  return loaded.exports;
}

const jsonata = loadReference(process.argv[2]);

const FUNCTIONS = {
  nowIso: () => new Date(0).toISOString(),
  coalesce: (...values) => values.find((value) => value !== undefined && value !== null) ?? null,
  len: (value) => (typeof value === 'string' || Array.isArray(value) ? value.length : 0),
  toString: (value) => (value === undefined || value === null ? '' : String(value)),
  append: (list, item) => [].concat(list ?? [], item === undefined ? [undefined] : item),
};

function whyNotJson(value) {
  if (value === undefined || typeof value === 'function') return 'not_json';
  if (typeof value === 'number') return Number.isFinite(value) ? null : 'not_json';
  if (value === null || typeof value !== 'object') return null;
  if (value._jsonata_function || value._jsonata_lambda) return 'not_json';
  for (const item of Array.isArray(value) ? value : Object.values(value)) {
    if (whyNotJson(item)) return 'not_json';
  }
  return null;
}

async function outcome({ source, scope }) {
  let expression;
  try {
    expression = jsonata(source);
  } catch (error) {
    return { error: 'syntax' };
  }
  for (const [name, body] of Object.entries(FUNCTIONS)) expression.registerFunction(name, body);
  try {
    const value = await expression.evaluate(JSON.parse(scope));
    const reason = whyNotJson(value);
    return reason ? { error: reason } : { value };
  } catch (error) {
    return { error: 'runtime' };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await outcome(JSON.parse(line))) + '\n');
  }
})();
