// The document is brought in line with a tree of plain values: what has the focus keeps it, what a person has
// opened stays open. Names and payloads come from strangers: they become text nodes and nothing else.

const SVG = 'http://www.w3.org/2000/svg';

/** A node of the tree: `h('p', { class: 'note' }, 'text', child)`. Nothing, false and true are left out. */
export function h(name, props, ...children) {
  return {
    name,
    props: props || {},
    children: children.flat(Infinity).filter((child) => child != null && child !== false && child !== true),
  };
}

/** Makes the children of `parent` those of the tree. A `key` among the props keeps an element with its content. */
export function patch(parent, children) {
  const keyed = new Map();
  for (const node of parent.children) if (node.treeKey != null) keyed.set(node.treeKey, node);
  let at = parent.firstChild;
  for (const child of children) {
    const node = matching(child, at, keyed) || create(child, parent);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
    if (typeof child !== 'object') {
      if (node.data !== String(child)) node.data = String(child);
    } else {
      apply(node, child.props);
      if (!child.props.own) patch(node, child.children);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function matching(child, at, keyed) {
  if (typeof child !== 'object') return at && at.nodeType === 3 ? at : null;
  const node = child.props.key != null ? keyed.get(child.props.key) : at;
  if (!node || node.nodeType !== 1 || node.localName !== child.name) return null;
  return node.treeKey === (child.props.key ?? undefined) ? node : null;
}

function create(child, parent) {
  if (typeof child !== 'object') return document.createTextNode(String(child));
  const space = child.name === 'svg' ? SVG : parent.namespaceURI;
  const node = document.createElementNS(space, child.name);
  if (child.props.key != null) node.treeKey = child.props.key;
  return node;
}

// Only what has changed since it was last applied: what a person typed or opened is not undone.
function apply(node, props) {
  const before = node.treeProps || {};
  for (const name of Object.keys(before)) if (!(name in props)) set(node, name, null);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'on') listen(node, value);
    else if (name === 'width%') node.style.width = `${value}%`;
    else if (name !== 'key' && name !== 'own' && before[name] !== value) set(node, name, value);
  }
  node.treeProps = props;
}

function set(node, name, value) {
  if (name === 'on') node.treeOn = {};
  else if (name === 'value' || name === 'checked') node[name] = value ?? '';
  else if (value == null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? '' : String(value));
}

function listen(node, handlers) {
  const known = node.treeKnown || (node.treeKnown = new Set());
  node.treeOn = handlers;
  for (const type of Object.keys(handlers)) {
    if (known.has(type)) continue;
    known.add(type);
    node.addEventListener(type, (event) => node.treeOn[type] && node.treeOn[type](event));
  }
}
