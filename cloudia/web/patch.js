// Makes elements what they should be by touching only what differs: a node that is right stays the same node, and text that has
// grown grows in place, so that a selection in it stays too.

// Make the children of `parent` from place `at` on equal to `wanted`, which are nodes or text.
export function patch(parent, wanted, at = 0) {
  for (const each of wanted) {
    const node = typeof each === "string" ? document.createTextNode(each) : each, old = parent.childNodes[at++];
    if (!old) parent.append(node);
    else if (old.nodeType !== node.nodeType || !sameShell(old, node)) old.replaceWith(node);
    else if (old.nodeType === Node.TEXT_NODE) grow(old, node.data);
    else patch(old, [...node.childNodes]);
  }
  while (parent.childNodes.length > at) parent.lastChild.remove();
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
