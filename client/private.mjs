// Which members may have a short name in a bundle: those that nobody outside of it knows. The compiler says what a name stands
// for; one that stands for anything else anywhere, or for what has no type, or is written as a text, stays as it is.
import ts from 'typescript';

const NAMED = [ts.isPropertyAccessExpression, ts.isPropertyDeclaration, ts.isMethodDeclaration, ts.isAccessor, ts.isPropertyAssignment,
  ts.isShorthandPropertyAssignment, ts.isPropertySignature, ts.isMethodSignature, ts.isBindingElement, ts.isParameter];

/** The member that the name of a node stands for; undefined: not known. */
function memberOf(types, node, name) {
  const { parent } = node;
  if (ts.isBindingElement(node)) return types.getPropertyOfType(types.getTypeAtLocation(parent), name.text);
  if (ts.isParameter(node)) return types.getPropertyOfType(types.getTypeAtLocation(parent.parent), name.text);
  if (ts.isObjectLiteralExpression(parent)) {
    const wanted = types.getContextualType(parent);
    return wanted && types.getPropertyOfType(types.getNonNullableType(wanted), name.text);
  }
  return types.getSymbolAtLocation(name);
}

/** esbuild's options for short names. `hidden(declaration)`: may this member of a class or an interface have one?
 * `strangers`: other bundles that meet this one at run time. */
export function shortNames(entry, hidden, strangers = []) {
  const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile);
  const program = ts.createProgram([entry, ...strangers], ts.parseJsonConfigFileContent(config, ts.sys, '.').options);
  const types = program.getTypeChecker();
  const found = new Set(), others = new Set();
  const mayHide = (one) => (ts.isClassLike(one.parent) || ts.isInterfaceDeclaration(one.parent) || ts.isConstructorDeclaration(one.parent)) && hidden(one);
  const visit = (node) => {
    if (ts.isStringLiteralLike(node)) others.add(node.text);
    const variable = (ts.isBindingElement(node) && !ts.isObjectBindingPattern(node.parent))
      || (ts.isParameter(node) && !ts.isParameterPropertyDeclaration(node, node.parent));
    const name = node.propertyName ?? node.name;
    if (!variable && NAMED.some((is) => is(node)) && ts.isIdentifier(name))
      (memberOf(types, node, name)?.declarations?.every(mayHide) ? found : others).add(name.text);
    ts.forEachChild(node, visit);
  };
  for (const file of program.getSourceFiles()) if (!file.isDeclarationFile) visit(file);
  const names = [...found].filter((name) => !others.has(name)).sort();
  // The underscore: a page may have a class of its own that extends one of ours.
  return { mangleProps: new RegExp(`^(${names.join('|')})$`), mangleCache: Object.fromEntries(names.map((name, i) => [name, '_' + i.toString(36)])) };
}

const flagged = (flags) => (node) => !!(ts.getCombinedModifierFlags(node) & flags);
export const isPrivate = flagged(ts.ModifierFlags.Private);
const isInner = flagged(ts.ModifierFlags.Private | ts.ModifierFlags.Protected);
/** Also what only the client itself knows of its links and subscriptions. */
export const isWithin = (node) => isInner(node) || /client\/(link|subscriptions|http|socket|stream|poll|place)\.ts$/.test(node.getSourceFile().fileName);
