"""python -m starproof"""

from starproof.cli import main

main()
