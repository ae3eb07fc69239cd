"""What programs find installed on LibreChat's own server, and models therefore expect."""

from __future__ import annotations

# As their packages are named.
PYTHON = (
    "docx2python",
    "lifelines",
    "markitdown",
    "matplotlib",
    "networkx",
    "numpy",
    "opencv-python-headless",
    "openpyxl",
    "pandas",
    "pillow",
    "python-barcode",
    "python-docx",
    "python-pptx",
    "rasterio",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "seaborn",
    "statsmodels",
    "sympy",
    "wordcloud",
)
# Left out of the image on purpose: a whole database server, half as large as all the rest.
LEFT_OUT = ("chdb",)
JAVASCRIPT = (
    "cheerio",
    "exceljs",
    "lodash",
    "mammoth",
    "pdf-lib",
    "pptxgenjs",
    "sharp",
    "zod",
)
