"""`python -m quadrat.cluster`: the command line where no script of that name is installed, as in a submitted job."""

from quadrat.cluster.cli.main import main

if __name__ == "__main__":
    main()
