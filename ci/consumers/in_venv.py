"""What Python's consumers make of a JUnit file, as one line of JSON. Runs in the environment that they are installed in.

Usage: in_venv.py junitparser|lxml FILE [SCHEMA]"""
import json
import sys


def junitparser(path):
    """Counted twice: by the numbers the file says, and by its cases as junitparser sees them."""
    import junitparser as parser

    root = parser.JUnitXml.fromfile(path)
    cases = [case for suite in root for case in suite]
    has = lambda kind: sum(any(isinstance(end, kind) for end in case.result) for case in cases)
    said = {"tests": root.tests, "failures": root.failures, "errors": root.errors}
    seen = {"tests": len(cases), "failures": has(parser.Failure), "errors": has(parser.Error)}
    if said != seen:
        raise SystemExit(f"the file says {said} and holds {seen}")
    return {**seen, "skipped": has(parser.Skipped)}


def lxml(path, schema):
    """With the parser's own limits, which GitLab's has as well, and with the rules of junit.xsd."""
    from lxml import etree

    document = etree.parse(path, etree.XMLParser(huge_tree=False, resolve_entities=False))
    rules = etree.XMLSchema(etree.parse(schema))
    if not rules.validate(document):
        raise SystemExit("\n".join(str(error) for error in list(rules.error_log)[:5]))
    count = lambda name: len(document.findall(f".//testcase/{name}"))
    return {"tests": len(document.findall(".//testcase")), "failures": count("failure"), "errors": count("error"),
            "skipped": count("skipped")}


if __name__ == "__main__":
    consumer, *arguments = sys.argv[1:]
    print(json.dumps({"junitparser": junitparser, "lxml": lxml}[consumer](*arguments)))
