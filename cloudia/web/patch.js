// Makes elements what they should be by touching only what differs: a node that is right stays the same node, and text that has
// grown grows in place, so that a selection in it stays too.

// Make the children of `parent` that stand after the child `after`, or all, equal to `wanted`, which are nodes or text. What stands
// before is not so much as counted: where there are thousands, that would cost more than the rest.
export function patch(parent, wanted, after = null) {
  let old = follow(parent, after, 1);
  for (const each of wanted) {
    const node = typeof each === "string" ? document.createTextNode(each) : each, next = old?.nextSibling ?? null;
    if (!old) parent.append(node);
    else if (old.nodeType !== node.nodeType || !sameShell(old, node)) old.replaceWith(node);
    else if (old.nodeType === Node.TEXT_NODE) grow(old, node.data);
    else patch(old, [...node.childNodes]);
    old = next;
  }
  for (let next; old; old = next) {
    next = old.nextSibling;
    old.remove();
  }
}

// Return the child that stands `count` places after the child `after`; null stands before the first one.
export function follow(parent, after, count) {
  for (; count > 0; count--) after = after ? after.nextSibling : parent.firstChild;
  return after;
}

function sameShell(a, b) {
  return a.nodeName === b.nodeName && (a.nodeType !== Node.ELEMENT_NODE || a.cloneNode().isEqualNode(b.cloneNode()));
}

function grow(node, data) {
  if (node.data === data) return;
  if (data.startsWith(node.data)) return node.appendData(data.slice(node.length));
  let same = 0;
  while (node.data[same] === data[same]) same++;
  node.replaceData(same, node.length - same, data.slice(same));
}
