"""The paper's tables: rows as data, one runner, statistics, the methods of Table 2, and pages from the JSON alone."""
