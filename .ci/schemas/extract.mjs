// Reads provider schemas out of the bindings that CDK Terrain and CDK for Terraform
// generate from the real providers, for those whose binary cannot be had offline.
//
//   npm install --ignore-scripts --legacy-peer-deps @cdktn/provider-aws@25.7.0 @cdktf/provider-azuread@14.3.1
//   node .ci/schemas/extract.mjs node_modules/@cdktn/provider-aws aws infra > .ci/schemas/aws.json
//
// Where the provider itself can be had, the first argument is the output of `terraform
// providers schema -json`, of which the rest is cut away.
//
// Only the types that the .tf files under the last argument name are taken. The output is
// that of `terraform providers schema -json`. Lost on the way: which values are allowed,
// which arguments exclude one another, and whether a nested attribute is a block.
import fs from 'node:fs';
import path from 'node:path';

const [bindings, provider, root] = process.argv.slice(2);
if (!root) {
  console.error('usage: extract.mjs BINDINGS|SCHEMAS.json PROVIDER FOLDER');
  process.exit(2);
}

const scalar = { string: 'string', number: 'number', boolean: 'bool', any: 'dynamic' };

// typeOf turns how the bindings store a value into a type of Terraform.
function typeOf(kind, storage) {
  if (kind === 'simple') return scalar[storage] ?? 'dynamic';
  const element = scalar[storage.replace(/(List|Map)$/, '')];
  if (element && ['list', 'set', 'map'].includes(kind)) return [kind, element];
  return 'dynamic';
}

const lower = (s) => s[0].toLowerCase() + s.slice(1);
const camel = (s) => s.replace(/_+([a-z0-9])/g, (_, c) => c.toUpperCase());

class Module {
  constructor(folder) {
    this.js = fs.readFileSync(path.join(folder, 'index.js'), 'utf8');
    this.dts = fs.readFileSync(path.join(folder, 'index.d.ts'), 'utf8');
    this.classes = new Map();
    for (const part of this.js.split(/^(?=class \w+ extends )/m).slice(1)) {
      this.classes.set(part.match(/^class (\w+)/)[1], part.replace(/^}\n[\s\S]*$/m, ''));
    }
  }

  // settable are the arguments of a resource or of a nested structure.
  settable(text, interfaceName) {
    const list = {};
    const required = this.required(interfaceName);
    const entry = /^ {12}(\w+|"[^"]+"): \{\n\s+value: (.*),\n\s+isBlock: (\w+),\n\s+type: "(\w+)",\n\s+storageClassType: "(\w+)",/gm;
    const nested = /^ {8}(\w+|"[^"]+"): \{\n\s+value: (.*),\n\s+isBlock: (\w+),\n\s+type: "(\w+)",\n\s+storageClassType: "(\w+)",/gm;
    for (const re of [entry, nested]) {
      for (const [, name, value, isBlock, kind, storage] of text.matchAll(re)) {
        const struct = value.match(/(\w+)ToHclTerraform/g)?.map((s) => s.replace('ToHclTerraform', ''))
          .find((s) => !['string', 'number', 'boolean', 'hashMapper', 'listMapper'].includes(s));
        list[name] = { isBlock: isBlock === 'true', kind, storage, struct, required: required.has(name) };
      }
    }
    return list;
  }

  // required are the properties of an interface that have no question mark.
  required(interfaceName) {
    const body = this.dts.match(new RegExp(`export interface ${interfaceName}(?: extends [^{]+)? \\{([\\s\\S]*?)\\n\\}`))?.[1] ?? '';
    const found = new Set();
    for (const [, anchor, name, optional] of body.matchAll(/docs\/[^}]*#([\w-]+)[^}]*\}[\s\S]*?readonly (\w+)(\??):/g)) {
      if (!optional) found.add(anchor);
      if (!optional) found.add(name.replace(/[A-Z]/g, (c) => '_' + c.toLowerCase()));
    }
    return found;
  }

  // getters are everything that can be read: name, whether it is computed, and its type.
  getters(className) {
    const text = this.classes.get(className) ?? '';
    const list = {};
    const flags = new Map([...text.matchAll(/\/\/ (\w+) - computed: (\w+), optional: (\w+), required: (\w+)/g)].map((m) => [m[1], m]));
    for (const [, expression] of text.matchAll(/^ {4}get \w+\(\) \{\n\s+return (.*);\n/gm)) {
      const name = expression.match(/Attribute\('([^']+)'\)/)?.[1];
      if (!name) continue;
      const method = expression.match(/get(\w*?)(List|Map)?Attribute\(/);
      let type = 'dynamic';
      if (method) {
        const element = scalar[(method[1] || 'string').toLowerCase()];
        const collection = expression.includes('tolist') ? 'set' : method[2]?.toLowerCase();
        type = collection ? [collection, element] : element;
      }
      list[name] = { type, computed: flags.get(name)?.[2] === 'true' };
    }
    for (const [, struct, name, third] of text.matchAll(/new (\w+)\(this, "(\w+)"(?:, (\w+))?\)/g)) {
      list[name] = { struct, set: third === 'true', computed: flags.get(name)?.[2] === 'true' };
    }
    for (const [, element, name] of text.matchAll(/new cdkt[nf]\.(\w+)Map\(this, "(\w+)"\)/g)) {
      list[name] = { type: ['map', scalar[element.toLowerCase()]], computed: flags.get(name)?.[2] === 'true' };
    }
    return list;
  }

  // item is the class of the elements of a list class.
  item(listClass) {
    return this.classes.get(listClass)?.match(/return new (\w+)\(/)?.[1] ?? listClass;
  }

  objectType(className) {
    const fields = {};
    for (const [name, g] of Object.entries(this.getters(className))) {
      fields[name] = g.struct ? this.nestedType(g) : g.type;
    }
    return ['object', fields];
  }

  nestedType(g) {
    return [g.set ? 'set' : 'list', this.objectType(this.item(g.struct))];
  }

  block(settable, getters) {
    const attributes = {};
    const block_types = {};
    for (const [name, a] of Object.entries(settable)) {
      if (a.struct && a.isBlock) {
        const fn = this.js.match(new RegExp(`^function ${a.struct}ToHclTerraform\\(struct\\) \\{[\\s\\S]*?^\\}`, 'm'))?.[0] ?? '';
        const struct = a.struct[0].toUpperCase() + a.struct.slice(1);
        const reference = this.classes.has(struct + 'OutputReference') ? this.getters(struct + 'OutputReference') : {};
        const single = getters[name]?.struct ? !/List$/.test(getters[name].struct) || !this.classes.get(getters[name].struct)?.includes('ComplexList') : false;
        block_types[name] = {
          nesting_mode: a.kind === 'struct' ? 'single' : a.kind,
          block: this.block(this.settable(fn, struct), reference),
          ...(a.required && a.kind !== 'struct' ? { min_items: 1 } : {}),
          ...(single && a.kind !== 'struct' ? { max_items: 1 } : {}),
        };
        continue;
      }
      const type = a.struct ? 'dynamic' : typeOf(a.kind, a.storage);
      const computed = getters[name]?.computed || name === 'id';
      attributes[name] = { type, ...(a.required ? { required: true } : { optional: true, ...(computed ? { computed: true } : {}) }) };
    }
    for (const [name, g] of Object.entries(getters)) {
      if (attributes[name] || block_types[name]) continue;
      attributes[name] = { type: g.struct ? this.nestedType(g) : g.type, computed: true };
    }
    return { attributes, ...(Object.keys(block_types).length ? { block_types } : {}) };
  }

  schema() {
    const [className, text] = [...this.classes].find(([, t]) => /extends cdkt[nf]\.Terraform(Resource|DataSource|Provider) /.test(t));
    const hcl = text.slice(text.indexOf('synthesizeHclAttributes'));
    const block = this.block(this.settable(hcl, className + 'Config'), this.getters(className));
    if (text.includes('TerraformDataSource ')) {
      // What may be asked with is also answered; not all bindings say so.
      for (const a of Object.values(block.attributes)) if (a.optional) a.computed = true;
    }
    return { version: 0, block };
  }
}

const used = { resource: new Set(), data: new Set() };
for (const name of fs.readdirSync(root, { recursive: true })) {
  if (!/\.tf$/.test(name)) continue;
  const text = fs.readFileSync(path.join(root, name), 'utf8');
  for (const [, kind, type] of text.matchAll(/^(resource|data) "(\w+)"/gm)) {
    if (type.startsWith(provider + '_')) used[kind].add(type);
  }
}

const source = `registry.terraform.io/hashicorp/${provider}`;
const folder = (type) => type.slice(provider.length + 1).replaceAll('_', '-');

// alias is Terraform's own.
function withoutAlias(schema) {
  delete schema.block.attributes.alias;
  return schema;
}

function fromBindings() {
  const read = (name) => new Module(path.join(bindings, 'lib', name)).schema();
  const collect = (types, prefix) => Object.fromEntries([...types].map((t) => [t, read(prefix + folder(t))]));
  return {
    provider: withoutAlias(read('provider')),
    resource_schemas: collect(used.resource, ''),
    data_source_schemas: collect(used.data, `data-${provider}-`),
  };
}

function fromProvider() {
  const all = JSON.parse(fs.readFileSync(bindings, 'utf8')).provider_schemas[source];
  const collect = (types, from) => Object.fromEntries([...types].map((t) => [t, from[t]]));
  return {
    provider: all.provider,
    resource_schemas: collect(used.resource, all.resource_schemas),
    data_source_schemas: collect(used.data, all.data_source_schemas),
  };
}

// sorted makes the output depend on the schemas alone; descriptions are for people.
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).filter((k) => k !== 'description' || typeof value[k] === 'object').filter((k) => k !== 'description_kind').sort().map((k) => [k, sorted(value[k])]));
}

const schemas = bindings.endsWith('.json') ? fromProvider() : fromBindings();
console.log(JSON.stringify(sorted({ format_version: '1.0', provider_schemas: { [source]: schemas } }), null, 1));
